// One finding in full: beside the table, or over the page on a small screen. Closing it gives the focus back.

// Without a prototype: a name from a log, such as `constructor`, has no meaning of its own.
const SAYS = {
  __proto__: null,
  'access-key-id': 'key id', document: 'credentials', 'iam-info': 'instance profile',
  'identity-document': 'identity document',
};
const LABELS = {
  __proto__: null,
  ip: 'address', mac: 'MAC', port: 'port', vlan: 'VLAN', host: 'name', process: 'process', client: 'client',
  user_agent: 'user agent', vendor: 'made by', nat_ip: 'NAT to', gateway: 'by way of', ttl: 'TTL', method: 'method',
  path: 'path', status: 'status', id: 'account', access_key_id: 'key', role: 'role', from: 'known by',
};
const MONO = new Set(['ip', 'mac', 'nat_ip', 'gateway', 'path', 'access_key_id', 'id', 'user_agent', 'process']);

const details = { row: null, pane: null };

function say(value) {
  if (Array.isArray(value)) return value.map(say).join(', ');
  return value && typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function list(pairs) {
  const known = pairs.filter(([, value]) => value !== '' && value !== null && value !== undefined && value !== false);
  return known.length ? element('dl', {}, known.map(([name, value]) => [element('dt', {}, name), element('dd', {}, value)])) : null;
}

function told(values) {
  return Object.entries(values || {})
    .filter(([name]) => name !== 'claims' && name !== 'forged' && name !== 'expected')
    .map(([name, value]) => [LABELS[name] || name, MONO.has(name) ? element('code', {}, say(value)) : say(value)]);
}

function accountOf(values) {
  if (!values) return null;
  const words = values.expected === true ? 'expected' : values.expected === false ? 'not one you expect' : '';
  const pairs = told(values);
  if (words) pairs.splice(1, 0, ['expected', span(values.expected ? 'badge good' : 'badge bad', words)]);
  for (const [source, number] of Object.entries(values.claims || {})) pairs.push([`${SAYS[source] || source} says`, number]);
  if (values.forged) pairs.push(['forged', span('badge bad', 'the answers disagree')]);
  return pairs;
}

function evidence(found, more) {
  return [
    (found || []).map(([source, position, excerpt]) =>
      element('p', { class: 'evidence' }, [source, position].filter(Boolean).join(', '), excerpt && element('code', {}, excerpt))),
    more > 0 && element('p', { class: 'more' }, `and ${plural(more, 'more place')}, in the findings file`),
  ];
}

// The parts of a finding, as they stand in the pane and on paper.
function parts(row) {
  const full = detailsOf(row);
  const rank = columns.stage[row];
  const remedy = textOf('remedy', row);
  const title = (text) => element('h4', {}, text);
  const section = (name, pairs) => {
    const body = list(pairs || []);
    return body ? [title(name), body] : null;
  };
  return [
    remedy && element('p', { class: 'next' }, element('b', {}, 'Next: '), remedy, ' ',
      element('a', { href: `#runbook-${STAGES[rank]}` }, 'What to do at this stage')),
    list([
      ['seen', `${full.count}×, ${period(columns.first[row], columns.last[row])}`],
      ['cause', textOf('cause', row)],
      ['suppressed by', textOf('suppressed', row)],
    ]),
    section('Victim', told(full.victim)),
    section('Asked', [['endpoint', element('code', {}, textOf('endpoint', row))], ...told(full.request).filter(([name]) => name !== 'name')]),
    rank >= ANSWERED
      ? section('Answered by', full.responder ? told(full.responder) : [['responder', 'not named by any source']])
      : section('Answered by', [['responder', 'no answer seen']]),
    (full.responders || []).map((one) => section('Also answered', told(one))),
    section('Account', accountOf(full.account)),
    full.reasons && [title(`Verdict of the probe: ${full.verdict}`),
      element('ul', { class: 'reasons' }, full.reasons.map(([side, text]) => element('li', {}, span('side', side), text)))],
    title('Evidence'),
    evidence(full.evidence, columns.more[row]),
    section('Rules that matched', Object.entries(full.rules || {}).map(([name, count]) => [name, `${say(count)}×`])),
    list([['ATT&CK', say(full.attack || '')], ['fingerprint', element('code', {}, say(full.fingerprint || ''))]]),
  ];
}

function openDetails(row) {
  const first = details.row === null;
  details.row = row;
  const rank = columns.stage[row];
  const step = (by) => () => {
    activate(table.active + by);
    openDetails(table.rows[table.active]);
  };
  const heading = element('h3', { tabindex: '-1', id: 'details-title' },
    span('id', textOf('victim', row) || 'unnamed host'), `: ${textOf('title', row)}`);
  const before = button('↑', step(-1), { class: 'button small', 'aria-label': 'Previous finding' });
  const after = button('↓', step(1), { class: 'button small', 'aria-label': 'Next finding' });
  before.disabled = table.active === 0;
  after.disabled = table.active >= table.rows.length - 1;
  details.pane.className = `details stage-${rank}`;
  details.pane.replaceChildren(
    element('header', {},
      element('div', {}, stageMark(rank), span('quiet', ` ${SEVERITIES[columns.severity[row]]}, ${CONFIDENCES[columns.confidence[row]]} confidence`)),
      element('div', { class: 'tools' }, before, after, button('Close', closeDetails, { class: 'button small' }))),
    heading,
    element('p', { class: 'tools' },
      button('Only this host', () => choose({ victim: columns.victim[row] }), { class: 'button small' }),
      textOf('answerer', row) && button('Only this responder', () => choose({ answerer: columns.answerer[row] }), { class: 'button small' })),
    ...fill(document.createDocumentFragment(), parts(row)).childNodes,
  );
  details.pane.hidden = false;
  details.pane.scrollTop = 0;
  details.pane.parentNode.classList.add('open');
  if (first) activate(table.active);
  heading.focus({ preventScroll: true });
}

function closeDetails() {
  if (details.row === null) return;
  details.row = null;
  details.pane.hidden = true;
  details.pane.parentNode.classList.remove('open');
  table.grid.focus({ preventScroll: true });
  draw();
}

function makeDetails() {
  details.pane = element('aside', { class: 'details', 'aria-label': 'Finding', hidden: true });
  details.pane.addEventListener('click', (event) => {
    if (event.target.closest('a')) closeDetails();
  });
  return details.pane;
}
