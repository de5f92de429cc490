// On paper a table that scrolls is of no use: the chosen findings are printed as cards, worst or sorted first.

const PRINTED = 200;
const PLACES = 5;
const PAPER = 470; // width of the timeline's chart in CSS pixels, beside its names on A4 or Letter

const inline = (pairs) => (pairs || []).map(([name, value], at) => [at > 0 && ', ', name !== 'address' && `${name} `, value]);

function card(row) {
  const full = detailsOf(row);
  const rank = columns.stage[row];
  const said = `${SEVERITIES[columns.severity[row]]}, ${CONFIDENCES[columns.confidence[row]]} confidence`;
  const filled = (children) => (children.length ? element('span', {}, children) : null);
  const request = full.request || {};
  const places = full.evidence || [];
  const remedy = textOf('remedy', row);
  return element('article', { class: `finding stage-${rank}` },
    element('h3', {}, stageMark(rank), ' ', span('id', textOf('victim', row) || 'unnamed host'), `: ${textOf('title', row)}`, span('quiet', ` ${said}`)),
    remedy && element('p', { class: 'next' }, element('b', {}, 'Next: '), remedy),
    list([
      ['victim', filled(inline(told(full.victim)))],
      ['asked', [textOf('endpoint', row), textOf('path', row), request.status && `(status ${request.status})`].filter(Boolean).join(' ')],
      ['answered by', rank < ANSWERED ? 'no answer seen' : filled(inline(told(full.responder))) || 'not named by any source'],
      ['also', filled((full.responders || []).map((one, at) => [at > 0 && '; ', inline(told(one))]))],
      ['account', filled(inline(accountOf(full.account)))],
      ['seen', `${full.count}×, ${period(columns.first[row], columns.last[row])}`],
      ['rules', Object.entries(full.rules || {}).map(([name, count]) => `${name} ${say(count)}×`).join(', ')],
      ['cause', textOf('cause', row)],
      ['suppressed by', textOf('suppressed', row)],
      ['fingerprint', say(full.fingerprint || '')],
    ]),
    evidence(places.slice(0, PLACES), columns.more[row] + Math.max(0, places.length - PLACES)));
}

function preparePrint() {
  const place = document.getElementById('printed');
  window.addEventListener('beforeprint', () => {
    drawTimeline(PAPER);
    const rows = table.rows;
    const shown = [...rows.subarray(0, PRINTED)].map(card);
    const chosenBy = written();
    const hidden = rows.length - shown.length;
    place.replaceChildren(
      element('p', { class: 'quiet' }, `${plural(rows.length, 'finding')}${chosenBy ? ` chosen by ${decodeURIComponent(chosenBy.replace(/\+/g, ' '))}` : ''}.`),
      ...shown,
      hidden > 0 ? element('p', { class: 'more' }, `and ${plural(hidden, 'more finding')} that are not printed: choose fewer.`) : '',
    );
  });
  window.addEventListener('afterprint', () => {
    place.replaceChildren();
    drawTimeline();
  });
}
