/** Legends: classes that can be hidden, with their areas; the ramp of a quantity. */
import {h, hectares, number, swatch} from './dom.js';
import {MOST} from './objects.js';
import {RAMP} from './style.js';

export function legend(product, state, layer, span, isOther = false) {
  if (layer.kind === 'imagery') {
    const isNatural = layer.title.startsWith('Imagery in red, green and blue');
    return h('p', {class: 'small'}, `Composite of the input${isNatural ? ' in natural colours' : `: ${layer.title}`}.`);
  }
  if (layer.kind === 'classes') return classes(product, state, layer, span, isOther);
  const [low, high] = layer.range;
  const units = layer.units && layer.units !== '1' ? ` ${layer.units === 'percent' ? '%' : layer.units}` : '';
  return h('figure', {class: 'ramp'},
    h('div', {class: 'gradient', style: {backgroundImage: `linear-gradient(to right, ${RAMP.join(',')})`}}),
    h('figcaption', {}, h('span', {}, `${number(low)}${units}`), h('span', {}, layer.title), h('span', {}, `${number(high)}${units}`)));
}

function classes(product, state, layer, span, isOther) {
  const {off} = state.get();
  const areas = product.areas[layer.id]?.[span] ?? {};
  const rows = layer.classes.map((one) => {
    const area = areas[String(one.value)];
    const id = `class-${isOther ? 'other-' : ''}${one.value}`;
    const hidden = !isOther && off.includes(one.value);
    return h('li', {},
      h('label', {for: id, class: hidden ? 'off' : ''},
        isOther ? null : h('input', {id, type: 'checkbox', checked: !hidden, 'aria-label': `Show ${one.name}`,
          onchange: (event) => state.set({off: event.target.checked ? off.filter((v) => v !== one.value) : [...off, one.value]})}),
        swatch(one.color), h('span', {class: 'name'}, one.name),
        area ? h('span', {class: 'area', title: areaTitle(area)}, areaText(area)) : null));
  });
  const all = layer.classes.map((one) => one.value);
  const buttons = isOther || layer.classes.length < 3 ? null : h('div', {class: 'buttons'},
    h('button', {type: 'button', id: 'all', onclick: () => state.set({off: []})}, 'All'),
    h('button', {type: 'button', id: 'none', onclick: () => state.set({off: all})}, 'None'));
  return h('section', {class: 'legend', 'aria-label': `Legend of ${layer.title}`},
    h('h2', {}, layer.title, buttons), h('ul', {}, rows, isOther ? null : h('li', {class: 'empty'}, h('span', {class: 'swatch'}), 'no value')),
    notes(product, layer, areas).map((note) => h('p', {class: 'small'}, note)));
}

/** What the areas beside the classes are, and which other times have estimates where these are none. */
function notes(product, layer, areas) {
  const own = Object.values(areas);
  const spans = product.areas[layer.id] ?? {};
  const estimated = own.some(isEstimated) ? []
    : Object.keys(spans).filter((span) => Object.values(spans[span]).some(isEstimated));
  return [
    ...(own.length ? [areasNote(own)] : []),
    ...(estimated.length ? [`Areas with their 95 % intervals: ${estimated.join(', ')}.`] : []),
    ...(own.some(isEstimated) ? product.not_sampled : []),
  ];
}

const isEstimated = ({value}) => value !== null && value !== undefined;

function areasNote(areas) {
  if (!areas.some(isEstimated)) return 'Hectares of the map\u2019s pixels; no sample estimates them.';
  const rest = areas.every(isEstimated) ? '' : ' \u201cMapped\u201d: of the map\u2019s pixels, not estimable from the sample.';
  return `Hectares estimated from the reference sample, with their 95 % intervals.${rest}`;
}

function areaText(area) {
  if (!isEstimated(area)) return area.mapped === null ? '' : `${hectares(area.mapped)} mapped`;
  const below = area.value - area.low, above = area.high - area.value;
  // What is cut at 0, or comes from units that all agree, is wider on one side: no ± is true of it.
  if (Math.abs(above - below) > 0.02 * (above + below)) return `${hectares(area.value)} (${hectares(area.low).slice(0, -3)} to ${hectares(area.high).slice(0, -3)})`;
  return `${hectares(area.value)} ± ${hectares((above + below) / 2)}`;
}

function areaTitle(area) {
  return area.mapped ? `${hectares(area.mapped)} by the map's pixels` : '';
}

/** Classes of the objects that are shown, with how many there are; each can be hidden. */
export function objectsLegend(objects, state) {
  const known = objects?.shown;
  if (!known) return [h('p', {class: 'small'}, 'Reading …')];
  const {hide} = state.get();
  const rows = known.classes.map(({value, name, color, objects: count}) => {
    const id = `object-class-${value}`;
    const hidden = hide.includes(value);
    return h('li', {}, h('label', {for: id, class: hidden ? 'off' : ''},
      h('input', {id, type: 'checkbox', checked: !hidden, 'aria-label': `Show ${name}`,
        onchange: (event) => state.set({hide: event.target.checked ? hide.filter((v) => v !== value) : [...hide, value]})}),
      swatch(color), h('span', {class: 'name'}, name), h('span', {class: 'area'}, number(count))));
  });
  const count = known.total ? `${number(known.total)} objects in ${known.span}.` : `No objects in ${known.span}.`;
  const hint = known.total > MOST ? ' Circles are numbers of objects: zoom in for their shapes.' : '';
  return [h('section', {class: 'legend', 'aria-label': `Legend of ${known.title}`},
    known.total ? h('ul', {}, rows) : null,
    h('p', {class: 'small'}, `${count}${hint}`))];
}
