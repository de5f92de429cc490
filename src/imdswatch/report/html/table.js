// The table of findings: rows of one height, of which only those in sight exist, so its length costs nothing.
//
// It is an ARIA grid that keeps the focus itself and names the active row (aria-activedescendant), since a row that is
// scrolled away is no element any more.

const COLUMNS = [
  ['stage', 'how far'],
  ['victim', 'victim'],
  ['endpoint', 'endpoint'],
  ['answerer', 'answered by'],
  ['account', 'account'],
  ['last', 'last seen (UTC)'],
  ['count', 'events'],
];
const DOWN_FIRST = new Set(['stage', 'last', 'count']);
const BEYOND = 6; // rows above and below what is in sight

const table = { rows: new Uint32Array(0), active: 0, open: () => {} };

function makeTable() {
  table.heads = COLUMNS.map(([name, label]) => {
    const arrow = element('span', { class: 'arrow', 'aria-hidden': 'true' });
    const sort = element('button', { type: 'button', tabindex: '-1' }, label, arrow);
    const head = element('div', { role: 'columnheader', class: `c-${name}` }, sort);
    sort.addEventListener('click', () => sortBy(name));
    return { name, head, arrow, sort };
  });
  table.body = element('div', { role: 'rowgroup', class: 'body' });
  table.grid = element(
    'div',
    {
      role: 'grid', class: 'grid', id: 'grid', tabindex: '0', 'aria-label': 'Findings',
      'aria-describedby': 'keys', 'aria-colcount': COLUMNS.length,
    },
    element('div', { role: 'rowgroup' },
      element('div', { role: 'row', class: 'head', 'aria-rowindex': 1 }, table.heads.map((one) => one.head))),
    table.body,
  );
  for (const { sort } of table.heads) sort.tabIndex = 0;
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
  table.grid.addEventListener('scroll', later, { passive: true });
  new ResizeObserver(later).observe(table.grid);
  table.grid.addEventListener('keydown', pressed);
  table.body.addEventListener('click', (event) => {
    const line = event.target.closest('.row');
    if (line) {
      activate(Number(line.dataset.at));
      table.open(table.rows[table.active]);
    }
  });
  return table.grid;
}

function sortBy(name) {
  choose({ sort: name, down: choice.sort === name ? !choice.down : DOWN_FIRST.has(name) });
  const label = COLUMNS.find(([one]) => one === name)[1];
  announce(`Sorted by ${label}, ${choice.down ? 'descending' : 'ascending'}`);
}

function show(rows, keep = null) {
  table.rows = rows;
  const at = keep === null ? -1 : rows.indexOf(keep);
  table.active = Math.max(0, at);
  table.grid.setAttribute('aria-rowcount', rows.length + 1);
  for (const { name, head, arrow } of table.heads) {
    const sorted = choice.sort === name;
    head.setAttribute('aria-sort', sorted ? (choice.down ? 'descending' : 'ascending') : 'none');
    arrow.textContent = sorted ? (choice.down ? '▾' : '▴') : '';
  }
  if (at < 0) table.grid.scrollTop = 0;
  draw();
}

const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue('--row'));

function draw() {
  const height = rowHeight();
  const { rows, grid, body } = table;
  body.style.height = `${Math.max(rows.length * height, rows.length ? 0 : 80)}px`;
  const from = Math.max(0, Math.floor(grid.scrollTop / height) - BEYOND);
  const to = Math.min(rows.length, Math.ceil((grid.scrollTop + grid.clientHeight) / height) + BEYOND);
  const lines = [];
  for (let at = from; at < to; at += 1) lines.push(line(at, height));
  if (!rows.length) {
    const cell = element('div', { role: 'gridcell', class: 'empty' }, 'No finding matches these filters.');
    lines.push(element('div', { role: 'row', 'aria-rowindex': 2 }, cell));
  }
  body.replaceChildren(...lines);
  if (rows.length && table.active >= from && table.active < to) {
    grid.setAttribute('aria-activedescendant', `row-${table.active}`);
  } else {
    grid.removeAttribute('aria-activedescendant');
  }
}

function line(at, height) {
  const row = table.rows[at];
  const muted = columns.suppressed[row] !== NOTHING;
  const rank = columns.stage[row];
  const answerer = rank < ANSWERED ? span('sub', 'no answer seen') : textOf('answerer', row);
  const host = textOf('host', row);
  const account = textOf('account', row);
  const cells = {
    stage: stageMark(rank),
    victim: [
      textOf('victim', row) ? span('id', textOf('victim', row)) : span('unnamed', 'unnamed host'),
      host && span('sub', ` ${host}`),
      muted && span('sub', ` suppressed by ${textOf('suppressed', row)}`),
    ],
    endpoint: textOf('endpoint', row) ? span('id', textOf('endpoint', row)) : span('sub', 'unknown'),
    answerer: typeof answerer === 'string' ? (answerer ? span('id', answerer) : span('sub', 'not named')) : answerer,
    account: account && [span('id', account), columns.expected[row] === 2 && span('unseen', ' not expected')],
    last: moment(columns.last[row]),
    count: counted(columns.count[row]),
  };
  const made = element(
    'div',
    {
      role: 'row', id: `row-${at}`, 'aria-rowindex': at + 2, 'data-at': at,
      'aria-selected': at === table.active ? 'true' : 'false',
      class: `row${at === table.active ? ' active' : ''}${muted ? ' mute' : ''}`,
    },
    COLUMNS.map(([name]) => {
      const bad = name === 'account' && columns.expected[row] === 2 ? ' bad-word' : '';
      return element('div', { role: 'gridcell', class: `cell c-${name}${bad}` }, cells[name] || '');
    }),
  );
  made.style.top = `${at * height}px`;
  return made;
}

function activate(at) {
  if (!table.rows.length) return;
  table.active = Math.min(Math.max(at, 0), table.rows.length - 1);
  const height = rowHeight();
  const head = table.heads[0].head.parentNode.offsetHeight;
  const { grid } = table;
  const top = table.active * height;
  if (top < grid.scrollTop) grid.scrollTop = top;
  if (top + height > grid.scrollTop + grid.clientHeight - head) grid.scrollTop = top + height - grid.clientHeight + head;
  draw();
}

function pressed(event) {
  if (event.target !== table.grid || event.ctrlKey || event.metaKey || event.altKey) return;
  const page = Math.max(1, Math.floor(table.grid.clientHeight / rowHeight()) - 2);
  const moves = {
    ArrowDown: table.active + 1, ArrowUp: table.active - 1, PageDown: table.active + page,
    PageUp: table.active - page, Home: 0, End: table.rows.length - 1,
  };
  if (event.key in moves) activate(moves[event.key]);
  else if ((event.key === 'Enter' || event.key === ' ') && table.rows.length) table.open(table.rows[table.active]);
  else return;
  event.preventDefault();
}
