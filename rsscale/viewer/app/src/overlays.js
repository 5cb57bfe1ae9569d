/** What lies over the pixels: the area's outline, regions, sample points, the chosen place. */
import GeoJSON from 'ol/format/GeoJSON.js';
import Feature from 'ol/Feature.js';
import Point from 'ol/geom/Point.js';
import VectorLayer from 'ol/layer/Vector.js';
import VectorSource from 'ol/source/Vector.js';
import {Circle, Fill, RegularShape, Stroke, Style, Text} from 'ol/style.js';
import {say} from './dom.js';

const format = new GeoJSON();
const FONT = '600 12px system-ui, sans-serif';

export class Overlays {
  constructor(map, product) {
    this.map = map;
    this.product = product;
    this.regions = new Map();
    this.add([feature(product.area)], 10, new Style({stroke: new Stroke({color: '#4b5563', width: 1.25})}));
    this.place = this.add([], 40, marker());
  }

  add(features, zIndex, style, declutter = false) {
    const source = new VectorSource({features});
    const layer = new VectorLayer({source, style, zIndex, declutter, className: `over-${zIndex}`});
    this.map.addLayer(layer);
    return layer;
  }

  async showRegions(step) {
    for (const [name, layer] of this.regions) layer.setVisible(name === step);
    if (step) (await this.loadRegions(step))?.setVisible(true);
  }

  /** Regions of a step, read once; hidden until they are asked for. */
  loadRegions(step) {
    this.reading ??= new Map();
    if (!this.reading.has(step)) this.reading.set(step, this.readRegions(step));
    return this.reading.get(step);
  }

  async readRegions(step) {
    const content = await this.product.json(`regions/${encodeURIComponent(step)}.json`);
    if (!content) {
      say(`regions of ${step} can't be read`);
      return null;
    }
    const layer = this.add(format.readFeatures(content), 20, (one, resolution) => regionStyle(one, resolution), true);
    layer.setVisible(false);
    this.regions.set(step, layer);
    return layer;
  }

  async regionsAt(step, coordinate) {
    const layer = await this.loadRegions(step);
    return layer ? layer.getSource().getFeaturesAtCoordinate(coordinate) : [];
  }

  async showSample(on) {
    if (!on) {
      this.sample?.setVisible(false);
      return;
    }
    if (!this.sample) {
      const content = await this.product.json('sample.json');
      if (!content) {
        say("the reference sample can't be read");
        return;
      }
      this.sample = this.add(format.readFeatures(content), 30, (one) => (one.get('agrees') ? AGREES : DIFFERS));
    }
    this.sample.setVisible(true);
  }

  /** The unit of the sample at a place, within some pixels of the screen. */
  samplePoint(coordinate) {
    if (!this.sample?.getVisible()) return null;
    const unit = this.sample.getSource().getClosestFeatureToCoordinate(coordinate);
    if (!unit) return null;
    const [x, y] = unit.getGeometry().getCoordinates();
    const distance = Math.hypot(x - coordinate[0], y - coordinate[1]);
    return distance <= 10 * this.map.getView().getResolution() ? unit : null;
  }

  mark(coordinate) {
    const source = this.place.getSource();
    source.clear();
    if (coordinate) source.addFeature(new Feature(new Point(coordinate)));
  }
}

const feature = (geometry) => new Feature(format.readGeometry(geometry));

const AGREES = new Style({
  image: new Circle({radius: 5, fill: new Fill({color: '#0072b2'}), stroke: new Stroke({color: '#fff', width: 1.5})}),
});
// Another shape, not only another colour.
const DIFFERS = new Style({
  image: new RegularShape({points: 4, radius: 7.5, angle: 0, fill: new Fill({color: '#d55e00'}), stroke: new Stroke({color: '#fff', width: 1.5})}),
  zIndex: 1,
});

function regionStyle(one, resolution) {
  const box = one.getGeometry().getExtent();
  const large = (box[2] - box[0]) / resolution > 60;
  return [
    new Style({stroke: new Stroke({color: 'rgba(255,255,255,0.75)', width: 3})}),
    new Style({
      stroke: new Stroke({color: '#1f2937', width: 1.25}),
      fill: new Fill({color: 'rgba(0,0,0,0)'}),
      text: large ? new Text({text: String(one.get('id')), font: FONT, overflow: false, fill: new Fill({color: '#111827'}), stroke: new Stroke({color: 'rgba(255,255,255,0.9)', width: 3})}) : undefined,
    }),
  ];
}

function marker() {
  const ring = (color, width) => new Style({image: new Circle({radius: 9, stroke: new Stroke({color, width})})});
  return [ring('#fff', 5), ring('#111827', 2)];
}
