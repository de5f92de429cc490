// The data of the page: columns of integers over one sorted table of texts, and details that are parsed when opened.
// Every text was made visible before it was written (hidden characters spelled out); it is only ever set as text.

const STAGES = ['attempted', 'requested', 'answered', 'credentials-served', 'credentials-used'];
const SEVERITIES = ['informational', 'low', 'medium', 'high', 'critical'];
const CONFIDENCES = ['low', 'medium', 'high'];
const ANSWERED = 2;

const index = JSON.parse(document.getElementById('index').textContent);
const ROWS = index.rows;
const TEXTS = index.texts;

// A column that holds one value throughout is written as that value.
const values = (name) => {
  const given = index.columns[name];
  return Array.isArray(given) ? given : new Array(ROWS).fill(given);
};
const integers = (name) => Int32Array.from(values(name));
const numbers = (name) => Float64Array.from(values(name), (value) => (value === null ? NaN : value));

const TEXT_COLUMNS = [
  'victim', 'host', 'endpoint', 'answerer', 'account', 'rule', 'title', 'cause', 'suppressed', 'remedy', 'path',
  'client', 'source', 'also',
];
const columns = {};
for (const name of TEXT_COLUMNS) columns[name] = integers(name);
for (const name of ['stage', 'severity', 'confidence', 'expected', 'more']) columns[name] = integers(name);
for (const name of ['count', 'first', 'last']) columns[name] = numbers(name);
index.columns = null;

const textOf = (name, row) => TEXTS[columns[name][row]];
const NOTHING = TEXTS.indexOf('');

const opened = new Map();

// The details of one finding; those of its neighbours are parsed with it and kept.
function detailsOf(row) {
  const chunk = Math.floor(row / index.chunk);
  if (!opened.has(chunk)) {
    if (opened.size > 20) opened.clear();
    opened.set(chunk, JSON.parse(document.getElementById(`details-${chunk}`).textContent));
  }
  return opened.get(chunk)[row % index.chunk];
}

const two = (number) => String(number).padStart(2, '0');

function day(time) {
  const date = new Date(time);
  return `${date.getUTCFullYear()}-${two(date.getUTCMonth() + 1)}-${two(date.getUTCDate())}`;
}

function clock(time) {
  const date = new Date(time);
  return `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
}

const moment = (time) => (Number.isNaN(time) ? 'no time' : `${day(time)} ${clock(time)}`);

function period(first, last) {
  if (Number.isNaN(first) || Number.isNaN(last)) return moment(Number.isNaN(first) ? last : first);
  if (last - first < 1000) return moment(first);
  return `${moment(first)} – ${day(first) === day(last) ? clock(last) : moment(last)}`;
}

const counted = (number) => number.toLocaleString('en-US');
const plural = (number, noun) => `${counted(number)} ${noun}${number === 1 ? '' : 's'}`;
