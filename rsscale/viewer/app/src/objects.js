/**
 * Objects over the map: near, their shapes, read from a FlatGeobuf for what is to be seen; far,
 * where there are too many of them, how many each cell holds.
 */
import Config from 'flatgeobuf/lib/mjs/config.js';
import {HttpReader} from 'flatgeobuf/lib/mjs/http-reader.js';
import {fromFeature} from 'flatgeobuf/lib/mjs/generic/feature.js';
import {createGeometry} from 'flatgeobuf/lib/mjs/ol/geometry.js';
import {buffer, containsExtent, getCenter, getHeight, getIntersection, getWidth} from 'ol/extent.js';
import Feature from 'ol/Feature.js';
import Point from 'ol/geom/Point.js';
import VectorLayer from 'ol/layer/Vector.js';
import VectorSource from 'ol/source/Vector.js';
import {Circle, Fill, Stroke, Style, Text} from 'ol/style.js';
import {number, say} from './dom.js';

// Bytes between two objects that are rather read in vain than by another request.
Config.global.setExtraRequestThreshold(2 ** 16);

/** Shapes that are read and drawn at once, about. */
export const MOST = 4000;
const CELL = 44; // pixels of the screen of a cell, at least
const SMALL = 5; // pixels of the screen below which an object is a dot
const THIN = 20; // and below which its line is thin, so that many of them don't hide what is below
// Okabe and Ito (2008), for classes that no map has a colour of.
const COLORS = ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#f0e442', '#999999'];

export class Objects {
  constructor(map, product, state) {
    Object.assign(this, {map, product, state});
    this.files = new Map();
    this.source = new VectorSource();
    this.layer = new VectorLayer({
      source: this.source, zIndex: 25, className: 'over-25', visible: false,
      style: (one, resolution) => this.style(one, resolution), updateWhileInteracting: true,
    });
    map.addLayer(this.layer);
    map.on('moveend', () => this.update());
  }

  /** What is known of the objects that are to be shown, once it is read; else nothing. */
  get shown() {
    return this.file?.known ?? null;
  }

  /** The span of a step that is shown with a layer's: its own, or the last. */
  span(step, span) {
    const spans = this.product.objects.find((one) => one.step === step)?.spans ?? [];
    return spans.includes(span) ? span : spans.at(-1);
  }

  /** Show the objects of a step as of a span; none hides them. Resolves once its counts are read. */
  async show(step, span, hidden) {
    const entry = this.product.objects.find((one) => one.step === step);
    const of = entry && this.span(step, span);
    this.layer.setVisible(Boolean(of));
    this.hidden = new Set(hidden);
    this.file = of ? this.open(entry, of) : null;
    this.drawn = null;
    if (!this.file) {
      this.source.clear();
      this.tell('none');
      return;
    }
    this.tell('reading');
    const {file} = this;
    await file.ready;
    if (file === this.file) await this.update();
  }

  open(entry, span) {
    const name = `objects/${encodeURIComponent(entry.step)}/${encodeURIComponent(span)}`;
    if (!this.files.has(name)) {
      const file = {known: null, url: new URL(`${name}.fgb`, this.product.base).href};
      file.ready = this.product.json(`${name}.json`).then((found) => {
        if (found?.format === 1) file.known = described(found, entry, span);
        else say(`objects of ${entry.step} can't be read; verify the run, or publish it again`);
      });
      this.files.set(name, file);
    }
    return this.files.get(name);
  }

  /** Bring what is drawn up to date with the view. */
  async update() {
    const known = this.shown;
    if (!known) return;
    const view = this.map.getView().calculateExtent(this.map.getSize());
    const classes = known.classes.map((one) => !this.hidden.has(one.value));
    if (expected(known, view, classes) > MOST) this.drawCells(known, classes);
    else await this.drawShapes(this.file, view);
  }

  drawCells(known, classes) {
    const resolution = this.map.getView().getResolution();
    const level = known.levels.find((one) => one.side / resolution >= CELL) ?? known.levels.at(-1);
    const key = `${known.span} cells ${level.side} ${classes}`;
    if (this.drawn?.key === key) return;
    const [west, north] = known.corner;
    const features = [];
    for (const [col, row, ...counts] of level.cells) {
      const shown = counts.map((count, k) => (classes[k] ? count : 0));
      const total = shown.reduce((sum, count) => sum + count, 0);
      if (!total) continue;
      const one = new Feature(new Point([west + (col + 0.5) * level.side, north - (row + 0.5) * level.side]));
      one.setProperties({counts: shown, total, known, side: level.side}, true);
      features.push(one);
    }
    this.replace({key}, features);
    this.tell(`cells ${features.length}`);
  }

  async drawShapes(file, view) {
    const key = `${file.url} shapes ${[...this.hidden]}`;
    if (this.drawn?.key === key && containsExtent(this.drawn.extent, view)) return;
    // Somewhat more than is seen, so that a small move reads nothing.
    const extent = buffer(view, Math.max(getWidth(view), getHeight(view)) / 4);
    const turn = {key, extent};
    this.turn = turn;
    this.tell('reading');
    try {
      const features = await readShapes(file, extent, () => this.turn !== turn);
      if (this.turn !== turn) return;
      this.replace(turn, features.filter((one) => !this.hidden.has(one.get('class'))));
      this.tell(`shapes ${features.length}`);
    } catch (error) {
      if (this.turn === turn) say(`objects can't be read: ${error.message}`);
    }
  }

  replace(drawn, features) {
    this.turn = drawn;
    this.drawn = drawn;
    this.source.clear(true);
    this.source.addFeatures(features);
  }

  /** Say by an attribute of the map what is drawn. */
  tell(text) {
    this.map.getTargetElement().dataset.objects = text;
  }

  /** Objects, or a cell of them, at a place: some pixels of the screen beside it, too. */
  at(coordinate) {
    if (!this.shown || !this.layer.getVisible()) return [];
    const found = this.source.getFeaturesAtCoordinate(coordinate);
    const near = found.length ? null : this.source.getClosestFeatureToCoordinate(coordinate);
    if (!near) return found;
    const [x, y] = near.getGeometry().getClosestPoint(coordinate);
    const [dx, dy] = [Math.abs(x - coordinate[0]), Math.abs(y - coordinate[1])];
    const reach = near.get('side') / 2 || SMALL * this.map.getView().getResolution();
    return Math.max(dx, dy) <= reach ? [near] : [];
  }

  style(one, resolution) {
    if (one.get('total')) return cellStyle(one);
    const known = this.shown;
    const color = known?.colors.get(one.get('class')) ?? '#666';
    const box = one.getGeometry().getExtent();
    const size = Math.max(getWidth(box), getHeight(box)) / resolution;
    // A polygon of a map has no score: it covers its class, and needs neither a dot nor a light edge to be seen.
    if (!Number.isFinite(one.get('score'))) return size < THIN ? covering(color) : outline(color, 1.25, 1);
    if (size < SMALL) return dot(color);
    return size < THIN ? outline(color, 1.5, 0.75) : outline(color, 2, 1);
  }
}

/** The colour of a class of objects: the run's, else one that is the same in every year. */
export const classColor = (colors, value, name) => colors[`${value} ${name}`] ?? COLORS[Math.abs(value - 1) % COLORS.length];

function described({classes, levels, corner}, entry, span) {
  const colors = new Map(classes.map(({value, name}) => [value, classColor(entry.colors, value, name)]));
  return {
    step: entry.step, title: entry.title, span, levels, corner, colors,
    classes: classes.map((one) => ({...one, color: colors.get(one.value)})),
    total: classes.reduce((sum, one) => sum + one.objects, 0),
  };
}

/** About how many objects an extent holds, as if they were spread evenly in each cell. */
function expected({levels, corner: [west, north]}, view, classes) {
  const [{side, cells}] = levels;
  let total = 0;
  for (const [col, row, ...counts] of cells) {
    const [x, y] = [west + col * side, north - row * side];
    const common = getIntersection([x, y - side, x + side, y], view);
    const share = (Math.max(getWidth(common), 0) * Math.max(getHeight(common), 0)) / side ** 2;
    if (share > 0) for (const [k, count] of counts.entries()) total += classes[k] ? share * count : 0;
  }
  return total;
}

async function readShapes(file, [minX, minY, maxX, maxY], isStale) {
  if (!file.known.total) return []; // a file without objects has no index
  file.reader ??= HttpReader.open(file.url, false);
  const reader = await file.reader.catch((error) => {
    file.reader = null; // to be tried again
    throw error;
  });
  const features = [];
  for await (const {id, feature} of reader.selectBbox({minX, minY, maxX, maxY})) {
    if (isStale()) return [];
    features.push(fromFeature(id, feature, reader.header, createGeometry, olFeature));
  }
  return features;
}

function olFeature(id, geometry, properties) {
  const one = new Feature(geometry);
  one.setProperties(properties, true);
  return one;
}

const styles = new Map();

function remembered(key, make) {
  if (!styles.has(key)) styles.set(key, make());
  return styles.get(key);
}

/** A line with a light edge on both sides, by their widths. */
const outline = (color, width, edge) => remembered(`outline ${color} ${width} ${edge}`, () => [
  new Style({stroke: new Stroke({color: 'rgba(255,255,255,0.9)', width: width + 2 * edge})}),
  new Style({stroke: new Stroke({color, width}), fill: new Fill({color: `${color}33`})}),
]);

const covering = (color) => remembered(`covering ${color}`, () =>
  new Style({stroke: new Stroke({color: 'rgba(255,255,255,0.5)', width: 0.75}), fill: new Fill({color})}));

const dot = (color) => {
  const style = remembered(`dot ${color}`, () => new Style({
    image: new Circle({radius: 3, fill: new Fill({color}), stroke: new Stroke({color: '#fff', width: 1})}),
    geometry: (one) => new Point(getCenter(one.getGeometry().getExtent())),
  }));
  return style;
};

/** A circle with the number of objects, in the colour of the most frequent class. */
function cellStyle(one) {
  const {counts, total, known} = one.getProperties();
  const color = known.classes[counts.indexOf(Math.max(...counts))].color;
  const text = total < 10000 ? number(total) : `${number(Math.round(total / 1000))}k`;
  const radius = 9 + 3 * Math.min(Math.log10(total), 4);
  return remembered(`cell ${color} ${text}`, () => new Style({
    image: new Circle({radius, fill: new Fill({color: '#ffffffe6'}), stroke: new Stroke({color, width: 3})}),
    text: new Text({text, font: '600 11px system-ui, sans-serif', fill: new Fill({color: '#111827'})}),
  }));
}
