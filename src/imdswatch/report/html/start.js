// The page comes to life: filters above the table, chips for what cannot be chosen from a list, the address kept in step.

const SLOW = 60; // milliseconds after the last key before a search begins

function select(name, label, options) {
  const made = element('select', { id: `choose-${name}` }, element('option', { value: '' }, 'all'),
    options.map(([value, text]) => element('option', { value }, text)));
  made.addEventListener('change', () => choose({ [name]: made.value === '' ? null : Number(made.value) }));
  watchers.push(() => {
    made.value = choice[name] === null ? '' : String(choice[name]);
  });
  return element('label', {}, label, made);
}

function present(name) {
  const counts = new Map();
  for (let row = 0; row < ROWS; row += 1) {
    const value = columns[name][row];
    counts.set(value, (counts.get(value) || 0) + 1);
  }
  return counts;
}

function ranked(name, names) {
  const counts = present(name);
  return names.map((text, rank) => [rank, text]).filter(([rank]) => counts.has(rank)).reverse()
    .map(([rank, text]) => [rank, `${text} (${counted(counts.get(rank))})`]);
}

function worded(name) {
  return [...present(name)].filter(([value]) => value !== NOTHING).sort(([one], [other]) => one - other)
    .map(([value, count]) => [value, `${TEXTS[value]} (${counted(count)})`]);
}

function makeFilters() {
  const search = element('input', { type: 'search', id: 'search', autocomplete: 'off', spellcheck: 'false', placeholder: 'address, MAC, account, file …' });
  let timer = 0;
  search.addEventListener('input', () => {
    clearTimeout(timer);
    // Letters come in a row, an emptied field does not.
    timer = setTimeout(() => choose({ search: search.value }), ROWS > 5000 && search.value ? SLOW : 0);
  });
  watchers.push(() => {
    if (search.value.trim() !== choice.search.trim()) search.value = choice.search;
  });
  const muted = element('select', { id: 'choose-suppressed' },
    [['hide', 'hidden'], ['show', 'shown'], ['only', 'only these']].map(([value, text]) => element('option', { value }, text)));
  muted.value = choice.suppressed;
  muted.addEventListener('change', () => choose({ suppressed: muted.value }));
  watchers.push(() => {
    muted.value = choice.suppressed;
  });
  const anyMuted = columns.suppressed.some((value) => value !== NOTHING);
  return element('div', { class: 'filters', role: 'search', 'aria-label': 'Findings' },
    element('label', { class: 'search' }, 'Search', search),
    select('stage', 'Stage', ranked('stage', STAGES)),
    select('severity', 'Severity', ranked('severity', SEVERITIES)),
    select('cause', 'Cause', worded('cause')),
    select('rule', 'Rule', worded('rule')),
    anyMuted && element('label', {}, 'Suppressed', muted));
}

const NONE = { search: '', stage: null, severity: null, cause: null, rule: null, victim: null, answerer: null, account: null, window: null };

function chips() {
  const named = [['victim', 'victim'], ['answerer', 'answered by'], ['account', 'account']]
    .filter(([name]) => choice[name] !== null)
    .map(([name, label]) => [label, TEXTS[choice[name]] || 'unnamed', { [name]: null }]);
  if (choice.window) named.push(['time', period(...choice.window), { window: null }]);
  const made = named.map(([label, text, change]) => {
    const chip = element('button', { type: 'button', class: 'chip' }, `${label}: ${text}`, element('span', { 'aria-hidden': 'true' }, '×'), span('unseen', ', remove this filter'));
    chip.addEventListener('click', () => {
      choose(change);
      table.grid.focus({ preventScroll: true });
    });
    return chip;
  });
  const any = Object.entries(NONE).some(([name, value]) => choice[name] !== value);
  if (any) made.push(button('Show all findings', () => { choose(NONE); document.getElementById('search').focus(); }, { class: 'button small' }));
  return made;
}

// What the script can do is offered where it stands already: a stage of the ladder, a responder, an account.
function offer() {
  for (const step of document.querySelectorAll('.step')) {
    const rank = Number(step.dataset.stage);
    if (step.classList.contains('above') || !columns.stage.includes(rank)) continue;
    const name = step.querySelector('.name');
    const made = element('button', { type: 'button', class: 'name', title: 'Show only these findings' }, name.textContent);
    made.addEventListener('click', () => go({ ...NONE, stage: rank }));
    name.replaceWith(made);
  }
  for (const [place, name] of [['responders', 'answerer'], ['accounts', 'account']]) {
    for (const title of document.querySelectorAll(`#${place} .title .id:not(.unnamed)`)) {
      const at = TEXTS.indexOf(title.textContent);
      if (at < 0 || !columns[name].includes(at)) continue;
      const made = element('button', { type: 'button', class: 'id', title: 'Show only these findings' }, title.textContent);
      made.addEventListener('click', () => go({ ...NONE, [name]: at }));
      title.replaceWith(made);
    }
  }
}

function go(change) {
  choose(change);
  document.getElementById('findings').scrollIntoView();
  table.grid.focus({ preventScroll: true });
}

function start() {
  document.body.classList.add('scripted');
  Object.assign(choice, read(location.hash.slice(1)));
  const place = document.getElementById('explorer');
  if (!ROWS) {
    document.body.classList.remove('scripted');
    return;
  }
  const result = element('output', { id: 'result', role: 'status', 'aria-live': 'polite' });
  const status = element('div', { class: 'status' });
  said = element('div', { class: 'unseen', role: 'status', 'aria-live': 'polite' });
  const explorer = element('div', { class: 'explorer' }, makeTable(), makeDetails());
  place.append(
    makeFilters(),
    status,
    element('p', { class: 'unseen', id: 'keys' }, 'Arrow keys move, Enter opens a finding, Escape closes it.'),
    explorer,
    said,
  );
  place.hidden = false;
  table.open = openDetails;
  const update = () => {
    const rows = chosen();
    show(rows, details.row);
    result.textContent = rows.length === ROWS ? plural(ROWS, 'finding') : `${counted(rows.length)} of ${plural(ROWS, 'finding')}`;
    status.replaceChildren(result, ...chips());
    if (details.row !== null && !rows.includes(details.row)) closeDetails();
    try {
      history.replaceState(null, '', `#${written()}`);
    } catch {
      // Some browsers allow no change of the address of a local file.
    }
  };
  watchers.unshift(update);
  makeTimeline();
  for (const watcher of watchers) watcher({ sort: choice.sort });
  offer();
  preparePrint();
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && details.row !== null) closeDetails();
  });
}

start();
