/** Make an element: `h('p', {class: 'note'}, 'text', child)`. Texts are never parsed as HTML. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'style') Object.assign(element.style, value);
    else if (name in element && typeof value !== 'string') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** A square of a colour, as in a legend. */
export const swatch = (color) => h('span', {class: 'swatch', 'aria-hidden': 'true', style: {backgroundColor: color}});

/** Tell the reader that something went wrong, in a line; nothing hides it. */
export function say(text) {
  const message = byId('message');
  message.textContent = text;
  message.hidden = !text;
}

const digits = new Intl.NumberFormat('en', {maximumFractionDigits: 0});
const three = new Intl.NumberFormat('en', {maximumSignificantDigits: 3});

/** A number of hectares, as people write it. */
export const hectares = (value) => `${value >= 100 ? digits.format(value) : three.format(value)} ha`;

export const number = (value) => (Number.isInteger(value) ? digits.format(value).replaceAll(',', '\u202f') : three.format(value));
