/** The map: two sides of tiles read from Zarr, and what lies over them. */
import Map from 'ol/Map.js';
import View from 'ol/View.js';
import ScaleLine from 'ol/control/ScaleLine.js';
import Zoom from 'ol/control/Zoom.js';
import {defaults as interactions} from 'ol/interaction/defaults.js';
import WebGLTile from 'ol/layer/WebGLTile.js';
import Projection from 'ol/proj/Projection.js';
import {addProjection, get as getProjection, transform} from 'ol/proj.js';
import {register} from 'ol/proj/proj4.js';
import proj4 from 'proj4';
import {byId, say} from './dom.js';
import {Pyramid} from './pyramid.js';
import {tileStyle} from './style.js';

const KEPT = 8; // sources that stay open, so that going back to a year reads nothing again

export function createProjection({code, proj4: definition, units}, extent) {
  if (definition) {
    proj4.defs(code, definition);
    register(proj4);
  }
  const known = getProjection(code);
  if (known) return known;
  const own = new Projection({code, units, extent});
  addProjection(own);
  return own;
}

/** Degrees of a place; null where the CRS isn't known to proj4. */
export function degrees(product, place) {
  if (!product.crs.proj4 && product.crs.units !== 'degrees') return null;
  const [lon, lat] = transform(place, product.projection, 'EPSG:4326');
  return Number.isFinite(lon) && Number.isFinite(lat) ? [lon, lat] : null;
}

export function createMap(product, state) {
  product.projection = createProjection(product.crs, product.extent);
  const {resolution, shape} = product.grid;
  const target = byId('map');
  const [width, height] = [target.clientWidth || 800, target.clientHeight || 600];
  const whole = Math.max((shape[1] * resolution) / width, (shape[0] * resolution) / height);
  const view = new View({
    projection: product.projection,
    center: [(product.extent[0] + product.extent[2]) / 2, (product.extent[1] + product.extent[3]) / 2],
    resolution: whole * 1.05,
    minResolution: resolution / 24,
    maxResolution: Math.max(whole * 4, resolution),
    constrainRotation: false,
    enableRotation: false,
    showFullExtent: true,
  });
  const map = new Map({
    target,
    view,
    layers: [],
    controls: [new Zoom(), new ScaleLine({minWidth: 90})],
    interactions: interactions({altShiftDragRotate: false, pinchRotate: false}),
  });
  const {x, y, r} = state.get();
  if ([x, y, r].every(Number.isFinite)) {
    view.setCenter([x, y]);
    view.setResolution(r);
  } else {
    view.fit(outline(product), {padding: [28, 28, 40, 28]});
  }
  map.on('moveend', () => {
    const [cx, cy] = view.getCenter();
    const res = view.getResolution();
    // A tenth of a pixel of the screen, in decimals: the same again when a link is opened.
    const digits = Math.max(0, 1 - Math.floor(Math.log10(res)));
    const place = {x: Number(cx.toFixed(digits)), y: Number(cy.toFixed(digits)), r: Number(res.toPrecision(5))};
    // The view takes the rounded place too: what is seen here is what the link shows, to the pixel.
    view.setCenter([place.x, place.y]);
    view.setResolution(place.r);
    state.set(place);
  });
  return map;
}

/** Extent of the area itself, which may be much smaller than that of its tiles. */
function outline({area, extent}) {
  const flat = JSON.stringify(area.coordinates).match(/-?[\d.]+(?:e[+-]?\d+)?/gi)?.map(Number) ?? [];
  if (!flat.length) return extent;
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (let k = 0; k + 1 < flat.length; k += 2) {
    box[0] = Math.min(box[0], flat[k]);
    box[1] = Math.min(box[1], flat[k + 1]);
    box[2] = Math.max(box[2], flat[k]);
    box[3] = Math.max(box[3], flat[k + 1]);
  }
  return box;
}

/** One side of the swipe, or the imagery below: a layer of tiles whose content can be changed. */
export class Side {
  constructor(map, product, className, zIndex) {
    Object.assign(this, {map, product, className, zIndex});
    this.sources = new globalThis.Map();
    this.shown = '';
  }

  /** Show a layer's year; `null` hides the side. */
  show(layer, span, axis, off, opacity) {
    if (!layer || layer.kind === 'blank') {
      if (this.tiles) this.tiles.setVisible(false);
      this.shown = '';
      return;
    }
    const key = `${layer.id} ${span} ${axis ?? ''}`;
    const style = tileStyle(layer, off);
    const look = JSON.stringify(style);
    if (!this.tiles || this.kind !== layer.id) this.replace(layer, style);
    else if (this.look !== look) this.tiles.setStyle(style);
    if (this.shown !== key) this.tiles.setSource(this.source(key, layer, span, axis));
    Object.assign(this, {look, shown: key, kind: layer.id});
    this.tiles.setOpacity(opacity);
    this.tiles.setVisible(true);
  }

  /** Another kind of layer has another number of bands: a layer of its own. */
  replace(layer, style) {
    if (this.tiles) this.map.removeLayer(this.tiles);
    this.shown = '';
    this.tiles = new WebGLTile({
      className: this.className,
      zIndex: this.zIndex,
      style,
      maxResolution: this.product.coarsest(layer),
      cacheSize: 256,
    });
    this.map.addLayer(this.tiles);
  }

  source(key, layer, span, axis) {
    let source = this.sources.get(key);
    if (!source) {
      source = openSource(this.product, layer, span, axis);
      this.sources.set(key, source);
      if (this.sources.size > KEPT) this.sources.delete(this.sources.keys().next().value);
    }
    return source;
  }
}

function openSource(product, layer, span, axis) {
  const time = layer.spans.indexOf(span);
  const dimensions = {time};
  const options = {url: product.storeUrl(layer), projection: product.projection, resample: 'nearest', transition: 0};
  let source;
  if (layer.kind === 'imagery') {
    const bands = layer.axis.values.map((_, k) => k);
    source = new Pyramid({...options, variable: layer.name, dimensions: {...dimensions, [layer.axis.name]: bands}});
  } else {
    if (layer.axis) dimensions[layer.axis.name] = Math.max(layer.axis.values.indexOf(axis), 0);
    source = new Pyramid({...options, bands: [layer.name], dimensions});
  }
  source.skips = (extent) => !product.hasTiles(extent);
  source.on('change', () => {
    if (source.getState() === 'error') say(`${layer.store} can't be read; verify the run, or publish it again`);
  });
  source.on('tileloaderror', () => say(`a part of ${layer.store} can't be read; verify the run`));
  return source;
}
