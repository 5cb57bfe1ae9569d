/** What is known of the place that was clicked: values of all layers, regions, scenes. */
import {byId, h, hectares, number, swatch} from './dom.js';
import {degrees} from './map.js';
import {classColor} from './objects.js';
import {axisNames} from './panel.js';

const MOST_YEARS = 12; // rows of the table of years; those around the chosen one

export async function showPlace(product, overlays, state, coordinate, point) {
  const card = byId('place');
  const pixel = product.pixel(coordinate);
  if (!pixel) {
    closePlace(overlays, state);
    return;
  }
  overlays.mark(coordinate);
  card.hidden = false;
  const parts = [heading(product, coordinate, () => closePlace(overlays, state))];
  card.replaceChildren(...parts, h('p', {class: 'small'}, 'Reading …'));
  const asked = (card.dataset.asked = String(Math.random()));
  try {
    const values = state.get();
    const found = await Promise.all([
      point ? samplePart(product, point) : null,
      objectsPart(product, overlays.objects, coordinate),
      yearsPart(product, pixel, values),
      probabilityPart(product, pixel, values),
      othersPart(product, pixel, values),
      ...product.regions.map((regions) => regionsPart(product, overlays, regions, coordinate, values)),
      scenesPart(product, pixel, coordinate, values),
    ]);
    parts.push(...found.filter(Boolean));
  } catch (error) {
    parts.push(h('p', {class: 'note'}, `The values can't be read: ${error.message}`));
  }
  if (card.dataset.asked === asked) card.replaceChildren(...parts);
}

export function closePlace(overlays, state) {
  byId('place').hidden = true;
  overlays.mark(null);
  state.set({at: []});
}

function heading(product, coordinate, close) {
  const at = degrees(product, coordinate);
  const place = at ? `${Math.abs(at[1]).toFixed(5)}° ${at[1] < 0 ? 'S' : 'N'}, ${Math.abs(at[0]).toFixed(5)}° ${at[0] < 0 ? 'W' : 'E'}` : '';
  const grid = product.crs.units === 'm' ? `E ${Math.round(coordinate[0])}, N ${Math.round(coordinate[1])}` : '';
  return h('header', {}, h('h2', {}, place || grid), place && grid ? h('p', {class: 'small'}, grid) : null,
    h('button', {type: 'button', class: 'close', 'aria-label': 'Close', onclick: close}, '×'));
}

/** The map's classes by year, with what is known beside them. */
async function yearsPart(product, pixel, values) {
  const classes = product.map;
  if (classes.kind !== 'classes') return null;
  const beside = product.layers.filter((one) => one.step === classes.step && one.kind === 'quantity' && !one.axis);
  const spans = around(classes.spans, values.span);
  const rows = await Promise.all(spans.map(async (span) => {
    const [value, ...more] = await Promise.all([classes, ...beside].map((layer) => product.value(layer, span, pixel)));
    return h('tr', {class: span === values.span ? 'now' : ''}, h('th', {scope: 'row'}, span),
      h('td', {}, className(classes, value)),
      more.map((one, k) => h('td', {class: 'number'}, quantity(beside[k], one))));
  }));
  return h('table', {id: 'years'},
    h('thead', {}, h('tr', {}, h('th', {scope: 'col'}, 'Year'), h('th', {scope: 'col'}, 'Class'),
      beside.map((layer) => h('th', {scope: 'col', title: layer.title}, layer.name.replaceAll('_', ' '))))),
    h('tbody', {}, rows));
}

function around(spans, span) {
  const middle = Math.max(spans.indexOf(span), 0);
  const first = Math.max(Math.min(middle - MOST_YEARS / 2, spans.length - MOST_YEARS), 0);
  return spans.slice(first, first + MOST_YEARS);
}

export function className(layer, value) {
  if (value === null) return h('span', {class: 'none'}, 'no value');
  const one = layer.classes.find((candidate) => candidate.value === value);
  return one ? h('span', {class: 'class', 'data-value': String(value)}, swatch(one.color), one.name) : `value ${value}`;
}

function quantity(layer, value) {
  if (value === null) return '–';
  const units = layer.units === 'percent' ? ' %' : layer.units && layer.units !== '1' ? ` ${layer.units}` : '';
  return `${number(value)}${units}`;
}

async function probabilityPart(product, pixel, values) {
  const layer = product.layers.find((one) => one.step === product.map.step && one.axis?.name === 'class');
  if (!layer) return null;
  const span = layer.spans.includes(values.span) ? values.span : layer.spans.at(-1);
  const found = await product.value(layer, span, pixel);
  if (found.every((value) => value === null)) return null;
  const names = axisNames(product, layer);
  const colors = new Map((product.map.classes ?? []).map((one) => [one.value, one.color]));
  const rows = layer.axis.values.map((value, k) => ({name: names.get(value) ?? String(value), color: colors.get(value) ?? '#999', share: found[k] ?? 0}))
    .sort((a, b) => b.share - a.share).filter((row) => row.share > 0);
  return h('section', {id: 'probabilities'}, h('h3', {}, `Probabilities ${span}`), bars(rows, (share) => `${number(share)} %`, 100));
}

function bars(rows, text, most) {
  return h('ul', {class: 'bars'}, rows.map((row) =>
    h('li', {}, h('span', {class: 'name'}, row.name), h('span', {class: 'number'}, text(row.share)),
      h('span', {class: 'bar', 'aria-hidden': 'true'}, h('span', {style: {width: `${Math.min(100, (100 * row.share) / most)}%`, backgroundColor: row.color}})))));
}

/** Layers of other steps, such as change. */
async function othersPart(product, pixel, values) {
  const layers = product.layers.filter((one) => one.step !== product.map.step && !one.axis && one.kind !== 'imagery');
  if (!layers.length) return null;
  const rows = await Promise.all(layers.map(async (layer) => {
    const span = layer.spans.includes(values.span) ? values.span : layer.spans.at(-1);
    const value = await product.value(layer, span, pixel);
    return h('tr', {}, h('th', {scope: 'row', title: layer.id}, layer.title), h('td', {}, layer.kind === 'classes' ? className(layer, value) : quantity(layer, value)));
  }));
  return h('section', {}, h('h3', {}, 'Other layers'), h('table', {}, h('tbody', {}, rows)));
}

async function regionsPart(product, overlays, regions, coordinate, values) {
  const found = await overlays.regionsAt(regions.step, coordinate);
  if (!found.length) return null;
  if (regions.kind === 'object-counts') return countsPart(product, regions, found, values);
  return h('section', {class: 'regions'}, found.map((region) => {
    const areas = region.get('areas');
    const span = values.span in areas ? values.span : Object.keys(areas).at(-1);
    const colors = new Map((product.map.classes ?? []).map((one) => [one.value, one.color]));
    const rows = (areas[span] ?? []).map((one) => ({name: one.name, color: colors.get(one.class) ?? '#999', share: one.hectares}))
      .sort((a, b) => b.share - a.share);
    const most = Math.max(...rows.map((row) => row.share), 1);
    return h('div', {}, h('h3', {}, `${region.get('id')}${span ? `, mapped ${span}` : ''}`), bars(rows, hectares, most));
  }));
}

/** Objects by class in each region, and how many there are in a square kilometre. */
function countsPart(product, {of, title}, found, values) {
  const colors = product.objects.find((one) => one.step === of)?.colors ?? {};
  return h('section', {class: 'regions counts'}, found.map((region) => {
    const counts = region.get('counts');
    const span = values.span in counts ? values.span : Object.keys(counts).at(-1);
    const [all, ...classes] = counts[span] ?? [];
    const rows = classes.map((one) => ({...one, share: one.objects, color: classColor(colors, one.class, one.name)}));
    const dense = (one) => (one?.per_km2 === null || one?.per_km2 === undefined ? '' : `, ${number(one.per_km2)} per km²`);
    return h('div', {}, h('h3', {}, `${region.get('id')}, ${title} ${span}`),
      h('p', {class: 'small'}, `${number(all?.objects ?? 0)} objects${dense(all)}`),
      bars(rows, number, Math.max(...rows.map((row) => row.share), 1)));
  }));
}

/** Scenes of the pixel's tile for the chosen year, by their days. */
async function scenesPart(product, pixel, coordinate, values) {
  if (product.map.kind === 'blank') return null;
  const step = product.map.step;
  const span = product.map.spans.includes(values.span) ? values.span : product.map.spans.at(-1);
  // A tile outside the area has no file.
  if ((await product.value(product.map, span, pixel)) === null) return null;
  const found = await product.json(`tiles/${encodeURIComponent(step)}/${span}/${product.tile(coordinate)}.json`);
  if (!found?.scenes.length) return null;
  const {scenes} = found;
  const days = scenes.map((scene) => scene.day).filter(Boolean);
  const last = days.at(-1) === days[0] ? '' : ` to ${days.at(-1)}`;
  const range = days.length ? `, ${days[0]}${last}` : '';
  const noun = scenes.length === 1 ? 'scene' : 'scenes';
  return h('details', {id: 'scenes'},
    h('summary', {}, `${scenes.length} ${noun} of this tile${range}`),
    h('ul', {class: 'scenes'}, scenes.map((scene) => h('li', {}, scene.day ? `${scene.day}  ` : '', h('span', {class: 'small'}, scene.id)))));
}

function samplePart(product, point) {
  const name = (value) => product.map.classes?.find((one) => one.value === Number(value))?.name ?? String(value ?? '–');
  return h('section', {class: 'sample'}, h('h3', {}, `Sample unit ${point.get('id')}`),
    h('p', {}, `map: ${name(point.get('map'))}; reference: ${name(point.get('reference'))}`, point.get('agrees') ? '' : ' (they differ)'));
}

const MOST_OBJECTS = 5; // of a place; they may overlap

/** Objects at the place, or how many are in its cell where they are too many to be drawn. */
function objectsPart(product, objects, coordinate) {
  const found = objects?.at(coordinate) ?? [];
  if (!found.length) return null;
  const {shown: known} = objects;
  const cell = found.find((one) => one.get('total'));
  if (cell) {
    const rows = known.classes.map((one, k) => ({name: one.name, color: one.color, share: cell.get('counts')[k]})).filter((row) => row.share);
    return h('section', {class: 'objects'}, h('h3', {}, `${number(cell.get('total'))} ${known.title} around here, ${known.span}`), bars(rows, number, cell.get('total')),
      h('p', {class: 'small'}, 'Zoom in for their shapes.'));
  }
  return h('section', {class: 'objects'}, found.slice(0, MOST_OBJECTS).map((one) => objectTable(known, one.getProperties())),
    found.length > MOST_OBJECTS ? h('p', {class: 'small'}, `and ${found.length - MOST_OBJECTS} more`) : null);
}

function objectTable(known, one) {
  const kind = known.classes.find(({value}) => value === one.class);
  const score = Number.isFinite(one.score) ? one.score.toFixed(2) : null;
  const rows = [
    ['Class', h('span', {class: 'class', 'data-value': String(one.class)}, swatch(kind?.color ?? '#666'), kind?.name ?? String(one.class))],
    ['Score', score],
    ['Area', area(one.area_m2)],
    ['Id', one.id],
    ['Joined of', score && one.parts > 1 ? `${one.parts} pieces` : null], // of a map's polygon they are cells
    ['Cut', one.cut ? 'it reaches the edge of what was seen, and may be larger' : null],
  ];
  return h('div', {class: 'object'}, h('h3', {}, `${known.title}, ${known.span}`),
    h('table', {}, h('tbody', {}, rows.filter(([, value]) => value !== null)
      .map(([name, value]) => h('tr', {}, h('th', {scope: 'row'}, name), h('td', {}, value))))));
}

const area = (square) => (square < 10000 ? `${number(Math.round(square))} m²` : hectares(square / 10000));
