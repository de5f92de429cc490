// Elements are made here and nowhere else. Text becomes a text node, never markup; there are no handlers in attributes.

function fill(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child || child === 0) node.append(child);
  }
  return node;
}

function describe(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  return node;
}

const element = (name, attributes = {}, ...children) =>
  fill(describe(document.createElement(name), attributes), children);

const shape = (name, attributes = {}, ...children) =>
  fill(describe(document.createElementNS('http://www.w3.org/2000/svg', name), attributes), children);

const span = (kind, ...children) => element('span', { class: kind }, ...children);

function button(label, act, attributes = {}) {
  const made = element('button', { type: 'button', class: 'button', ...attributes }, label);
  made.addEventListener('click', act);
  return made;
}

const stageMark = (rank) => span(`stage stage-${rank}`, STAGES[rank]);

// Where the reader is told something without moving there.
let said = null;
function announce(text) {
  if (said) said.textContent = text;
}
