// What is chosen: filters and an order, and the findings that follow from them. Nothing here touches the page.
//
// A search looks at every text of the table once, not at every finding: a hundred thousand findings share most texts.

const choice = {
  search: '',
  stage: null,
  severity: null,
  cause: null,
  rule: null,
  victim: null,
  answerer: null,
  account: null,
  suppressed: document.body.dataset.showSuppressed === 'yes' ? 'show' : 'hide',
  window: null,
  sort: 'stage',
  down: true,
};
const EQUAL = ['stage', 'severity', 'cause', 'rule', 'victim', 'answerer', 'account'];
const SEARCHED = TEXT_COLUMNS.filter((name) => name !== 'remedy');

// All texts in one, in small letters, and where each begins: looking for a word in it is one pass over memory.
const starts = new Uint32Array(TEXTS.length + 1);
const everything = (() => {
  const lowered = TEXTS.map((text) => text.toLowerCase());
  let at = 0;
  lowered.forEach((text, number) => {
    starts[number] = at;
    at += text.length + 1;
  });
  starts[TEXTS.length] = at;
  return lowered.join('\n');
})();
const watchers = [];
let order = null;
let orderOf = '';

// All rows in the chosen order; equal ones stay in the order in which they were written, worst first.
function ordered() {
  const wanted = `${choice.sort} ${choice.down}`;
  if (orderOf !== wanted) {
    const keys = columns[choice.sort];
    const sign = choice.down ? -1 : 1;
    const last = choice.down ? -Infinity : Infinity; // what is unknown comes last either way
    order = new Uint32Array(ROWS).map((_, at) => at);
    if (choice.sort !== 'stage' || !choice.down) {
      const known = Float64Array.from(keys, (key) => (Number.isNaN(key) ? last : key));
      order.sort((one, other) => sign * (known[one] - known[other]) || one - other);
    }
    orderOf = wanted;
  }
  return order;
}

// Which texts hold a word. The text of a place is found by halving; then on with the next text.
function holding(word) {
  const hits = new Uint8Array(TEXTS.length);
  let text = 0;
  for (let at = everything.indexOf(word); at >= 0; at = everything.indexOf(word, starts[text])) {
    let beyond = TEXTS.length;
    while (beyond - text > 1) {
      const middle = (text + beyond) >> 1;
      if (starts[middle] <= at) text = middle;
      else beyond = middle;
    }
    hits[text] = 1;
    text += 1;
  }
  return hits;
}

function found(hits, row) {
  for (const name of SEARCHED) if (hits[columns[name][row]]) return true;
  return false;
}

// The chosen rows in their order; `timeless` leaves the window of time out, as the timeline shows what lies beside it.
function chosen(timeless = false) {
  const searches = choice.search.toLowerCase().split(/\s+/).filter(Boolean).map(holding);
  const equal = EQUAL.filter((name) => choice[name] !== null).map((name) => [columns[name], choice[name]]);
  const { suppressed } = choice;
  const window = timeless ? null : choice.window;
  const rows = ordered();
  const kept = new Uint32Array(ROWS);
  let size = 0;
  next: for (let at = 0; at < ROWS; at += 1) {
    const row = rows[at];
    const muted = columns.suppressed[row] !== NOTHING;
    if (suppressed === 'hide' ? muted : suppressed === 'only' && !muted) continue;
    for (const [keys, value] of equal) if (keys[row] !== value) continue next;
    if (window && !(columns.first[row] <= window[1] && columns.last[row] >= window[0])) continue;
    for (const hits of searches) if (!found(hits, row)) continue next;
    kept[size] = row;
    size += 1;
  }
  return kept.subarray(0, size);
}

function choose(change) {
  Object.assign(choice, change);
  for (const watcher of watchers) watcher(change);
}

// Filters as the part of the address after `#`, so that a view can be passed on. Values are checked when read back.
function written() {
  const parts = new URLSearchParams();
  if (choice.search) parts.set('search', choice.search);
  for (const name of EQUAL) {
    if (choice[name] === null) continue;
    const names = { stage: STAGES, severity: SEVERITIES }[name] || TEXTS;
    parts.set(name, names[choice[name]]);
  }
  if (choice.suppressed !== 'hide') parts.set('suppressed', choice.suppressed);
  if (choice.window) parts.set('time', choice.window.map((time) => Math.round(time)).join('-'));
  return parts.toString();
}

function read(text) {
  const parts = new URLSearchParams(text);
  const change = {};
  for (const name of EQUAL) {
    const names = { stage: STAGES, severity: SEVERITIES }[name] || TEXTS;
    const at = parts.has(name) ? names.indexOf(parts.get(name)) : -1;
    if (at >= 0) change[name] = at;
  }
  if (parts.has('search')) change.search = parts.get('search');
  if (['hide', 'show', 'only'].includes(parts.get('suppressed'))) change.suppressed = parts.get('suppressed');
  const times = /^([0-9]{1,14})-([0-9]{1,14})$/.exec(parts.get('time') || '');
  if (times && Number(times[1]) < Number(times[2])) change.window = [Number(times[1]), Number(times[2])];
  return change;
}
