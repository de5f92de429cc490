// Which hosts, in what order: a strip of all findings over time, and a lane for each of the worst hosts.
//
// Drawn by hand as SVG: it prints, scales and takes its colours from the sheet. Zooming in chooses a window of time, which
// the table follows. All of it can be done with the buttons; the pointer is a short cut.

const LANES = 12;
const MARKS = 200; // findings that a lane shows
const STRIP = 54;
const LANE = 26;
const AXIS = 22;
const BUCKETS = 120;
const STEPS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 31536000]
  .map((seconds) => seconds * 1000);

const timeline = { place: null, whole: null, exact: null, width: 0 };

// All findings with a time, in the window or not.
function seenRows() {
  return (choice.window ? chosen(true) : table.rows).filter((row) => !Number.isNaN(columns.first[row]));
}

function extent(rows) {
  let from = Infinity;
  let to = -Infinity;
  for (const row of rows) {
    from = Math.min(from, columns.first[row]);
    to = Math.max(to, columns.last[row]);
  }
  timeline.exact = [from, to];
  const room = Math.max((to - from) * 0.02, 1000);
  return rows.length ? [from - room, to + room] : null;
}

// The worst hosts among the rows, in the order in which they were first seen, and how many hosts there are in all.
function worstHosts(rows) {
  const stages = new Int8Array(TEXTS.length).fill(-1);
  const firsts = new Float64Array(TEXTS.length);
  const names = [];
  for (const row of rows) {
    const name = columns.victim[row];
    const first = columns.first[row];
    if (stages[name] < 0) {
      names.push(name);
      firsts[name] = first;
    }
    if (columns.stage[row] > stages[name]) stages[name] = columns.stage[row];
    if (first < firsts[name]) firsts[name] = first;
  }
  const worse = (one, other) => stages[other] - stages[one] || firsts[one] - firsts[other];
  let worst = [];
  for (const name of names) {
    if (worst.length === LANES && worse(name, worst[LANES - 1]) >= 0) continue;
    worst.push(name);
    worst.sort(worse);
    worst = worst.slice(0, LANES);
  }
  const hosts = new Map(worst.sort((one, other) => firsts[one] - firsts[other])
    .map((name) => [name, { name, stage: stages[name], first: firsts[name], rows: [] }]));
  for (const row of rows) {
    const host = hosts.get(columns.victim[row]);
    if (host && host.rows.length < MARKS) host.rows.push(row);
  }
  return [[...hosts.values()], names.length];
}

function ticks([from, to], width) {
  const most = Math.max(2, Math.floor(width / 110));
  const step = STEPS.find((one) => (to - from) / one <= most) || STEPS[STEPS.length - 1];
  const found = [];
  for (let time = Math.ceil(from / step) * step; time <= to && found.length < 50; time += step) found.push(time);
  const label = (time) => {
    if (step >= 86400000) return day(time);
    return step >= 60000 ? clock(time).slice(0, 5) : clock(time);
  };
  return found.map((time) => [time, time % 86400000 === 0 ? day(time) : label(time)]);
}

function axis(view, width, at, height) {
  const x = (time) => ((time - view[0]) / (view[1] - view[0])) * width;
  return ticks(view, width).map(([time, text]) => {
    const end = x(time) > width - 40 ? 'end' : x(time) < 40 ? 'start' : 'middle';
    return [
      shape('line', { class: 'grid', x1: x(time), x2: x(time), y1: 0, y2: height }),
      shape('text', { x: x(time), y: at, 'text-anchor': end }, text),
    ];
  });
}

// How many findings at what time, the worst at the foot.
function strip(rows, view, width) {
  const counts = STAGES.map(() => new Float64Array(BUCKETS));
  const span = view[1] - view[0];
  for (const row of rows) {
    const at = Math.floor(((columns.first[row] - view[0]) / span) * BUCKETS);
    if (at >= 0 && at < BUCKETS) counts[columns.stage[row]][at] += 1;
  }
  let most = 1;
  for (let at = 0; at < BUCKETS; at += 1) most = Math.max(most, counts.reduce((sum, one) => sum + one[at], 0));
  const bars = [];
  const wide = width / BUCKETS;
  for (let at = 0; at < BUCKETS; at += 1) {
    const all = counts.reduce((sum, one) => sum + one[at], 0);
    const kinds = counts.filter((one) => one[at]).length;
    // One finding is to be seen beside ten thousand: the height grows with the root, and no stage is thinner than 3.
    const high = Math.max(3 * kinds, Math.sqrt(all / most) * (STRIP - 4));
    const spare = high - 3 * kinds;
    let foot = STRIP;
    for (let rank = STAGES.length - 1; rank >= 0; rank -= 1) {
      const count = counts[rank][at];
      if (!count) continue;
      const part = 3 + (spare * count) / all;
      foot -= part;
      bars.push(shape('rect', { class: `mark stage-${rank}`, x: at * wide, y: foot, width: Math.max(2, wide - 1), height: part }));
    }
  }
  return bars;
}

function lanes(hosts, view, width) {
  const x = (time) => ((time - view[0]) / (view[1] - view[0])) * width;
  return hosts.map((host, at) => {
    const length = (row) => columns.last[row] - columns.first[row];
    const longFirst = host.rows.sort((one, other) => length(other) - length(one) || columns.stage[one] - columns.stage[other]);
    const marks = longFirst.map((row) => {
      const from = Math.max(-8, Math.min(width, x(columns.first[row])));
      const to = Math.max(from, Math.min(width + 8, x(columns.last[row])));
      const what = `${STAGES[columns.stage[row]]}, ${period(columns.first[row], columns.last[row])}: ${textOf('title', row)}`;
      return shape('rect', { class: `mark stage-${columns.stage[row]}`, x: from - 3, y: at * LANE + 6, width: to - from + 6, height: LANE - 12, rx: 4, 'data-row': row },
        shape('title', {}, what));
    });
    return [shape('rect', { class: 'lane', x: 0, y: at * LANE + 2, width, height: LANE - 4, rx: 4 }), marks];
  });
}

function drawTimeline(fixed = 0) {
  const { place } = timeline;
  if (!place) return;
  const rows = seenRows();
  timeline.whole = extent(rows);
  if (!timeline.whole) {
    place.replaceChildren(element('p', { class: 'nothing' }, rows.length ? '' : 'No chosen finding has a time.'));
    return;
  }
  const view = choice.window || timeline.whole;
  const [hosts, total] = worstHosts(rows.filter((row) => columns.first[row] <= view[1] && columns.last[row] >= view[0]));
  const names = element('div', {}, hosts.map((host) => {
    const name = TEXTS[host.name] || 'unnamed host';
    const made = element('button', { type: 'button', class: `lane-name stage-${host.stage}`, title: `${name}: only this host` },
      element('i', { 'aria-hidden': 'true' }), span('', name), span('unseen', `, ${STAGES[host.stage]}, first seen ${moment(host.first)}`));
    made.style.height = `${LANE}px`;
    made.addEventListener('click', () => choose({ victim: host.name }));
    return made;
  }));
  names.style.paddingTop = `${STRIP + AXIS + 4}px`;
  const chart = element('div', { class: 'area' });
  const count = `${plural(rows.length, 'finding')} of ${plural(total, 'host')} in this window`;
  const which = total > hosts.length ? `The ${hosts.length} worst of ${plural(total, 'host')}` : plural(total, 'host');
  const key = STAGES.map((name, rank) => span(`stage-${rank}`, element('i', { 'aria-hidden': 'true' }), name));
  place.replaceChildren(
    element('div', { class: 'time-tools' }, span('span', period(...(choice.window || timeline.exact))), zoomButtons(view)),
    element('div', { class: 'lanes' }, names, chart),
    element('p', { class: 'key' }, `${which}, in the order in which they were first seen.`, key),
  );
  const width = fixed || Math.max(120, chart.clientWidth);
  timeline.width = place.clientWidth;
  const height = STRIP + AXIS + 4 + hosts.length * LANE;
  const picture = shape('svg', { class: 'chart', role: 'img', viewBox: `0 0 ${width} ${height}`, width, height, 'aria-label': `Timeline: ${count}` },
    axis(view, width, STRIP + 15, height),
    strip(rows, view, width),
    shape('g', { transform: `translate(0 ${STRIP + AXIS + 4})` }, lanes(hosts, view, width)));
  point(picture, view, width);
  chart.append(picture);
}

function zoomButtons(view) {
  const tool = (label, name, next) => {
    const made = button(label, () => {
      zoom(next());
      drawTimeline();
      const again = [...timeline.place.querySelectorAll('.time-tools button')].find((one) => one.getAttribute('aria-label') === name);
      if (again) again.focus();
    }, { class: 'button small', 'aria-label': name });
    made.disabled = label !== '+' && !choice.window;
    return made;
  };
  const [from, to] = view;
  const size = to - from;
  return [
    tool('←', 'Earlier', () => [from - size / 2, to - size / 2]),
    tool('→', 'Later', () => [from + size / 2, to + size / 2]),
    tool('+', 'Zoom in', () => [from + size / 4, to - size / 4]),
    tool('−', 'Zoom out', () => [from - size / 2, to + size / 2]),
    tool('All', 'Show all of the time', () => null),
  ];
}

// A window within the whole; none where it holds everything.
function zoom(window) {
  let next = window;
  if (next) {
    const [least, most] = timeline.whole;
    const size = Math.max(1000, Math.min(next[1] - next[0], most - least));
    const from = Math.max(least, Math.min(next[0], most - size));
    next = size >= most - least ? null : [from, from + size];
  }
  choose({ window: next });
  announce(next ? `Window ${period(next[0], next[1])}` : 'All of the time');
}

function point(picture, view, width) {
  const time = (event) => {
    const box = picture.getBoundingClientRect();
    const share = Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    return view[0] + share * (view[1] - view[0]);
  };
  const x = (at) => ((at - view[0]) / (view[1] - view[0])) * width;
  let start = null;
  let brush = null;
  picture.addEventListener('pointerdown', (event) => {
    if (event.button !== 0 || event.pointerType === 'touch') return;
    start = time(event);
    picture.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  picture.addEventListener('pointermove', (event) => {
    if (start === null) return;
    if (!brush) picture.append(brush = shape('rect', { class: 'brush', y: 0, height: '100%' }));
    const [from, to] = [start, time(event)].sort((one, other) => one - other);
    describe(brush, { x: x(from), width: Math.max(1, x(to) - x(from)) });
  });
  const end = (event) => {
    if (start === null) return;
    const [from, to] = [start, time(event)].sort((one, other) => one - other);
    start = null;
    if (brush) brush.remove();
    brush = null;
    if (x(to) - x(from) >= 6) zoom([from, to]);
    else openMark(event);
  };
  picture.addEventListener('pointerup', end);
  picture.addEventListener('pointercancel', () => {
    start = null;
    if (brush) brush.remove();
  });
  picture.addEventListener('click', (event) => {
    if (event.pointerType === 'touch') openMark(event);
  });
  picture.addEventListener('wheel', (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const at = time(event);
    const factor = event.deltaY > 0 ? 1.5 : 1 / 1.5;
    zoom([at - (at - view[0]) * factor, at + (view[1] - at) * factor]);
  }, { passive: false });
}

function openMark(event) {
  const mark = document.elementFromPoint(event.clientX, event.clientY);
  const row = mark && mark.dataset ? mark.dataset.row : undefined;
  if (row === undefined) return;
  const at = table.rows.indexOf(Number(row));
  if (at < 0) return;
  document.getElementById('findings').scrollIntoView();
  activate(at);
  openDetails(Number(row));
}

function makeTimeline() {
  timeline.place = document.getElementById('timeline');
  if (!timeline.place) return;
  drawTimeline();
  let waiting = false;
  watchers.push((change) => {
    if ('sort' in change || waiting) return;
    waiting = true;
    requestAnimationFrame(() => setTimeout(() => { // the table first: it is what was asked for
      waiting = false;
      drawTimeline();
    }));
  });
  new ResizeObserver(() => {
    if (Math.abs(timeline.place.clientWidth - timeline.width) > 1) drawTimeline();
  }).observe(timeline.place);
}
