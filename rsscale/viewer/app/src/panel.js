/** The panel: which layer, which year, what it is compared with, what lies over it. */
import {byId, h} from './dom.js';
import {legend, objectsLegend} from './legend.js';

/** Build the panel anew: another layer, another comparison, something over the map. */
export function drawPanel(product, state, objects) {
  const panel = byId('panel');
  const values = state.get();
  const layer = product.layer(values.layer);
  const other = product.layer(values.with);
  const focused = document.activeElement?.id;
  const scrolled = panel.scrollTop;
  const ofMap = layer.kind === 'blank' ? yearAndAxis(product, state, layer, 'span', 'axis', '') : [
    choice(product, 'layer', 'Layer', values.layer, (id) => state.set(chosen(product, values, id))),
    ...yearAndAxis(product, state, layer, 'span', 'axis', ''),
    slider('opacity', 'Opacity', {min: 0, max: 100, step: 5}, (value) => state.set({opacity: value})),
    h('div', {id: 'legend'}),
    h('h2', {}, 'Compare'),
    choice(product, 'with', 'Right of the line', values.with, (id) => state.set(compared(product, values, id)), 'Nothing'),
    ...(other ? yearAndAxis(product, state, other, 'withspan', 'withaxis', 'right of the line') : []),
    h('div', {id: 'other-legend'}),
  ];
  panel.replaceChildren(
    ...product.notes.map((note) => h('p', {class: 'note'}, note)),
    ...ofMap,
    ...overlays(product, state),
    h('p', {class: 'small'}, `${product.crs.name} · `, h('a', {href: 'licences.txt'}, 'licences')),
  );
  refreshPanel(product, state, objects);
  if (focused) byId(focused)?.focus({preventScroll: true});
  panel.scrollTop = scrolled;
}

/** Bring sliders and legends up to date: a slider that is being moved must stay where it is. */
export function refreshPanel(product, state, objects) {
  const values = state.get();
  const layer = product.layer(values.layer);
  const other = product.layer(values.with);
  const focused = document.activeElement?.id;
  place('opacity', values.opacity, `${values.opacity} %`);
  place('span', layer.spans.indexOf(values.span), values.span);
  if (other) place('withspan', other.spans.indexOf(values.withspan), values.withspan);
  byId('legend')?.replaceChildren(legend(product, state, layer, values.span));
  byId('other-legend')?.replaceChildren(
    ...(other && other.id !== layer.id ? [legend(product, state, other, values.withspan, true)] : []));
  byId('objects-legend')?.replaceChildren(...objectsLegend(objects, state));
  if (focused && document.activeElement?.id !== focused) byId(focused)?.focus({preventScroll: true});
}

function place(id, value, text) {
  const input = byId(id);
  if (!input) return;
  input.value = String(Math.max(value, 0));
  input.setAttribute('aria-valuetext', text);
  input.closest('.field').querySelector('output').textContent = text;
}

/** The state with another layer: its years and classes may be others. */
function chosen(product, values, id) {
  const layer = product.layer(id);
  return {
    layer: id,
    span: layer.spans.includes(values.span) ? values.span : layer.spans.at(-1),
    axis: layer.axis?.values[0] ?? 0,
    off: [],
  };
}

/** The state with something to compare with: of two years the earlier one is on the left. */
function compared(product, values, id) {
  const layer = product.layer(id);
  if (!layer) return {with: ''};
  const patch = {with: id, withspan: layer.spans.at(-1), withaxis: layer.axis?.values[0] ?? 0, swipe: 50};
  if (layer.spans.includes(values.span)) patch.withspan = values.span;
  if (id !== values.layer || layer.spans.length < 2) return patch;
  const index = layer.spans.indexOf(values.span);
  return index > 0
    ? {...patch, span: layer.spans[index - 1], withspan: values.span}
    : {...patch, withspan: layer.spans[1]};
}

function choice(product, id, label, value, change, nothing) {
  const steps = [...new Set(product.layers.map((layer) => layer.step))];
  const groups = steps.map((step) =>
    h('optgroup', {label: step},
      product.layers.filter((layer) => layer.step === step)
        .map((layer) => h('option', {value: layer.id, selected: layer.id === value}, layer.title))));
  return h('label', {class: 'field', for: id}, h('span', {}, label),
    h('select', {id, onchange: (event) => change(event.target.value)},
      nothing ? h('option', {value: '', selected: !value}, nothing) : null, groups));
}

function yearAndAxis(product, state, layer, spanKey, axisKey, where) {
  const values = state.get();
  const found = [];
  if (layer.spans.length > 1) {
    found.push(slider(spanKey, where ? `Year ${where}` : 'Year',
      {min: 0, max: layer.spans.length - 1, step: 1, ticks: layer.spans},
      (value) => state.set({[spanKey]: layer.spans[value]})));
  }
  if (layer.axis && layer.kind !== 'imagery') {
    const names = axisNames(product, layer);
    found.push(h('label', {class: 'field', for: axisKey}, h('span', {}, 'Of'),
      h('select', {id: axisKey, onchange: (event) => state.set({[axisKey]: Number(event.target.value)})},
        layer.axis.values.map((value) =>
          h('option', {value: String(value), selected: value === values[axisKey]}, names.get(value) ?? `${layer.axis.name} ${value}`)))));
  }
  return found;
}

/** Names of the values of an axis of classes, by the layer of classes of the same step. */
export function axisNames(product, layer) {
  const classes = product.layers.find((one) => one.step === layer.step && one.kind === 'classes') ?? product.map;
  return new Map(layer.axis.name === 'class' ? (classes.classes ?? []).map((one) => [one.value, one.name]) : []);
}

function slider(id, label, {min, max, step, ticks}, change) {
  const input = h('input', {
    id, type: 'range', min: String(min), max: String(max), step: String(step),
    oninput: (event) => change(Number(event.target.value)),
  });
  const marks = ticks && ticks.length <= 12
    ? h('div', {class: 'ticks', 'aria-hidden': 'true'}, ticks.map((tick) => h('span', {}, tick))) : null;
  return h('div', {class: 'field'}, h('label', {for: id}, h('span', {}, label), h('output', {for: id})), input, marks);
}

function overlays(product, state) {
  const values = state.get();
  const boxes = [];
  const imagery = product.layers.find((layer) => layer.kind === 'imagery');
  if (imagery) boxes.push(check('under', 'Imagery below', Boolean(values.under), (on) => state.set({under: Number(on)})));
  for (const {step, title} of product.objects) {
    boxes.push(check(`objects-${step}`, `Objects: ${title}`, values.objects === step,
      (on) => state.set({objects: on ? step : 'none', hide: []})));
    if (values.objects === step) boxes.push(h('div', {id: 'objects-legend'}));
  }
  for (const regions of product.regions) {
    boxes.push(check(`regions-${regions.step}`, `Regions: ${regions.title}`, values.regions === regions.step,
      (on) => state.set({regions: on ? regions.step : ''})));
  }
  if (product.sample) {
    boxes.push(check('sample', 'Reference sample', Boolean(values.sample), (on) => state.set({sample: Number(on)})));
    if (values.sample) {
      boxes.push(h('p', {class: 'key'}, h('span', {class: 'agrees', 'aria-hidden': 'true'}), 'map and reference agree',
        h('span', {class: 'differs', 'aria-hidden': 'true'}), 'they differ'));
    }
  }
  const title = product.map.kind === 'blank' ? 'What is shown' : 'Over and under the map';
  return boxes.length ? [h('h2', {}, title), ...boxes] : [];
}

function check(id, label, on, change) {
  return h('label', {class: 'check', for: id},
    h('input', {id, type: 'checkbox', checked: on, onchange: (event) => change(event.target.checked)}), label);
}
