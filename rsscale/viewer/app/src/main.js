/** The page of `rsscale view`: a product's Zarr, drawn and asked in the browser. */
import {byId, say} from './dom.js';
import {createMap, degrees, Side} from './map.js';
import {Objects} from './objects.js';
import {Overlays} from './overlays.js';
import {drawPanel, refreshPanel} from './panel.js';
import {closePlace, showPlace} from './place.js';
import {Product} from './product.js';
import {createState, readHash} from './state.js';

// What the panel is built of, and what only moves in it.
const STRUCTURE = ['layer', 'with', 'regions', 'sample', 'under', 'objects'];
const REFRESH = ['span', 'withspan', 'opacity', 'off', 'axis', 'withaxis', 'hide'];

start().catch((error) => say(error.message));

async function start() {
  if (!document.createElement('canvas').getContext('webgl2')) {
    throw new Error('This browser has no WebGL 2, which the map is drawn with; allow hardware acceleration, or use another browser.');
  }
  const product = await Product.load(new URL('./', location.href));
  document.title = `${product.title} – rsscale viewer`;
  byId('title').textContent = product.title;
  const state = createState(initial(product, readHash()));
  const map = createMap(product, state);
  const sides = {
    under: new Side(map, product, 'side-under', 0),
    a: new Side(map, product, 'side-a', 1),
    b: new Side(map, product, 'side-b', 2),
  };
  const overlays = new Overlays(map, product);
  overlays.objects = new Objects(map, product, state);
  const showObjects = async () => {
    const {objects, span, hide} = state.get();
    await overlays.objects.show(objects, span, hide);
    refreshPanel(product, state, overlays.objects);
  };
  const watch = watchPainting(map, sides);
  const draw = () => {
    drawSides(product, state, sides);
    watch();
  };
  state.listen((changed, values) => {
    draw();
    if ([...changed].some((name) => STRUCTURE.includes(name))) drawPanel(product, state, overlays.objects);
    else if ([...changed].some((name) => REFRESH.includes(name))) refreshPanel(product, state, overlays.objects);
    if (['objects', 'hide', 'span'].some((name) => changed.has(name))) showObjects();
    if (changed.has('regions')) overlays.showRegions(values.regions);
    if (changed.has('sample')) overlays.showSample(values.sample);
    if (changed.has('span') && values.at?.length === 2) showPlace(product, overlays, state, values.at);
  });
  draw();
  drawPanel(product, state, overlays.objects);
  state.write();
  showObjects();
  overlays.showRegions(state.get().regions);
  overlays.showSample(state.get().sample);
  listen(product, state, map, overlays);
  const {at} = state.get();
  if (at?.length === 2) showPlace(product, overlays, state, at);
}

/** Call back once a source knows its levels: before, a map without pixels counts as complete. */
function whenReady(source, then) {
  const check = () => {
    if (source.getState() === 'loading') return;
    source.un('change', check);
    then();
  };
  source.on('change', check);
  check();
}

/** Say by `aria-busy` of the map whether all that is to be seen is painted. */
function watchPainting(map, sides) {
  const target = map.getTargetElement();
  let turn = 0;
  return async () => {
    turn += 1;
    const mine = turn;
    target.setAttribute('aria-busy', 'true');
    const shown = Object.values(sides).filter((side) => side.tiles?.getVisible());
    await Promise.all(shown.map((side) => new Promise((then) => { whenReady(side.tiles.getSource(), then); })));
    if (mine !== turn) return;
    map.once('rendercomplete', () => {
      if (mine !== turn) return;
      target.setAttribute('aria-busy', 'false');
      if (document.body.classList.contains('painted')) return;
      performance.mark('painted');
      document.body.classList.add('painted');
    });
    map.render();
  };
}

/** What the address asks for, as far as the product has it. */
function initial(product, asked) {
  const layer = product.layer(asked.layer) ?? product.map;
  const other = product.layer(asked.with);
  return {
    swipe: 50, opacity: 100, off: [], under: 0, regions: '', sample: 0, at: [], objects: product.objects[0]?.step ?? '', hide: [],
    ...asked,
    layer: layer.id,
    span: layer.spans.includes(asked.span) ? asked.span : layer.spans.at(-1),
    axis: layer.axis?.values.includes(asked.axis) ? asked.axis : layer.axis?.values[0] ?? 0,
    with: other?.id ?? '',
    withspan: other?.spans.includes(asked.withspan) ? asked.withspan : other?.spans[0] ?? '',
    withaxis: other?.axis?.values.includes(asked.withaxis) ? asked.withaxis : other?.axis?.values[0] ?? 0,
  };
}

function drawSides(product, state, {under, a, b}) {
  const values = state.get();
  const layer = product.layer(values.layer);
  const other = product.layer(values.with);
  const imagery = values.under ? product.layers.find((one) => one.kind === 'imagery') : null;
  const year = imagery?.spans.includes(values.span) ? values.span : imagery?.spans.at(-1);
  under.show(imagery, year, 0, [], 1);
  a.show(layer, values.span, values.axis, values.off, values.opacity / 100);
  // Hidden classes are those of the layer on the left: the same layer hides them on both sides.
  b.show(other, values.withspan, values.withaxis, other?.id === layer.id ? values.off : [], values.opacity / 100);
  byId('stage').classList.toggle('comparing', Boolean(other));
  byId('stage').style.setProperty('--swipe', `calc(22px + (100% - 44px) * ${values.swipe / 100})`);
  for (const id of ['swipe', 'swipe-line', 'label-a', 'label-b']) byId(id).hidden = !other;
  byId('swipe').value = String(values.swipe);
  byId('label-a').textContent = label(layer, values.span);
  byId('label-b').textContent = other ? label(other, values.withspan) : '';
}

const label = (layer, span) => (layer.spans.length > 1 || /\d{4}/.test(span) ? `${span} · ${layer.title}` : layer.title);

function listen(product, state, map, overlays) {
  byId('swipe').addEventListener('input', (event) => state.set({swipe: Number(event.target.value)}));
  const ask = (coordinate) => {
    state.set({at: coordinate.map((value) => Number(value.toFixed(product.crs.units === 'm' ? 1 : 6)))});
    showPlace(product, overlays, state, coordinate, overlays.samplePoint(coordinate));
  };
  map.on('singleclick', (event) => ask(event.coordinate));
  map.getTargetElement().addEventListener('keydown', (event) => {
    if (event.key === 'Enter') ask(map.getView().getCenter());
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape') closePlace(overlays, state);
  });
  map.on('pointermove', (event) => {
    if (event.dragging) return;
    const at = degrees(product, event.coordinate);
    byId('readout').textContent = at ? `${at[1].toFixed(4)}°, ${at[0].toFixed(4)}°` : '';
  });
  map.getViewport().addEventListener('pointerleave', () => { byId('readout').textContent = ''; });
  const toggle = byId('toggle');
  const show = (open) => {
    document.body.classList.toggle('closed', !open);
    toggle.setAttribute('aria-expanded', String(open));
  };
  toggle.addEventListener('click', () => show(document.body.classList.contains('closed')));
  if (matchMedia('(max-width: 700px)').matches) show(false);
}
