/** The product as `viewer.json` describes it, and its pixels by place. */
import {FetchStore, get, open, root, withRangeCoalescing} from 'zarrita';

/** Pixels in a row of a store without overviews that may be read as a whole. */
const WITHOUT_OVERVIEWS = 4096;

/** What stands for the map of a product that has objects alone: nothing is drawn of it. */
function blank(objects) {
  const spans = [...new Set(objects.flatMap((one) => one.spans))].sort();
  return {id: 'none', step: '', name: '', title: 'No map', kind: 'blank', spans, levels: 1};
}

export class Product {
  constructor(document, base) {
    Object.assign(this, {objects: [], areas: {}, not_sampled: []}, document);
    this.base = base;
    if (!document.layers.length) this.layers = [blank(this.objects)];
    this.byId = new Map(this.layers.map((layer) => [layer.id, layer]));
    this.arrays = new Map();
  }

  static async load(base) {
    const answer = await fetch(new URL('viewer.json', base));
    if (!answer.ok) throw new Error(`viewer.json can't be read (${answer.status}); publish the product again`);
    const document = await answer.json();
    if (document.format !== 1) throw new Error(`viewer.json has the format ${document.format}, this page reads 1`);
    return new Product(document, base);
  }

  layer(id) {
    return this.byId.get(id);
  }

  /** The map of classes that the others are measured by. */
  get map() {
    return this.layers.find((layer) => layer.kind === 'classes') ?? this.layers[0];
  }

  storeUrl(layer) {
    return new URL(`../${layer.store}`, this.base).href;
  }

  /** Map units of a pixel beyond which a layer isn't read, since it would be read whole. */
  coarsest(layer) {
    const large = Math.max(...this.grid.shape) > WITHOUT_OVERVIEWS;
    return layer.levels === 1 && large ? this.grid.resolution * 4 : Infinity;
  }

  /** Row and column in the stores of a place; null where there is no tile. */
  pixel([x, y]) {
    const [west, , , north] = this.extent;
    const col = Math.floor((x - west) / this.grid.resolution);
    const row = Math.floor((north - y) / this.grid.resolution);
    const [rows, cols] = this.grid.shape;
    const [ix, iy] = this.tileIndex([x, y]);
    const runs = this.tiles[iy] ?? [];
    const isStored = runs.some((start, k) => k % 2 === 0 && start <= ix && ix <= runs[k + 1]);
    return isStored && row >= 0 && col >= 0 && row < rows && col < cols ? {row, col} : null;
  }

  /** Column and row of the tile of a place; rows of tiles count north, those of pixels south. */
  tileIndex([x, y]) {
    const {origin, resolution, tile} = this.grid;
    return [Math.floor((x - origin[0]) / (resolution * tile)), -Math.floor((origin[1] - y) / (resolution * tile)) - 1];
  }

  /** Name of the tile of a place, as the ledger has it. */
  tile(place) {
    const [ix, iy] = this.tileIndex(place);
    return `x${ix}_y${iy}`;
  }

  /** Whether there are tiles in an extent; elsewhere no step stores anything. */
  hasTiles([west, south, east, north]) {
    const inside = this.grid.resolution / 2; // edges that touch share no pixel
    const [first, bottom] = this.tileIndex([west + inside, south + inside]);
    const [last, top] = this.tileIndex([east - inside, north - inside]);
    for (let iy = bottom; iy <= top; iy += 1) {
      const runs = this.tiles[iy] ?? [];
      for (let k = 0; k < runs.length; k += 2) {
        if (runs[k] <= last && runs[k + 1] >= first) return true;
      }
    }
    return false;
  }

  /** The value of a layer at a pixel, or all values of its axis; nodata is null. */
  async value(layer, span, {row, col}) {
    const array = await this.array(layer);
    const time = layer.spans.indexOf(span);
    const decode = (stored) =>
      stored === layer.nodata || Number.isNaN(stored) ? null : stored * layer.scale + layer.offset;
    if (!layer.axis) return decode(Number(await get(array, [time, row, col])));
    const {data} = await get(array, [time, null, row, col]);
    return Array.from(data, (stored) => decode(Number(stored)));
  }

  array(layer) {
    if (!this.arrays.has(layer.id)) {
      const store = withRangeCoalescing(new FetchStore(this.storeUrl(layer)));
      this.arrays.set(layer.id, open.v3(root(store).resolve(layer.name), {kind: 'array'}));
    }
    return this.arrays.get(layer.id);
  }

  async json(name) {
    const answer = await fetch(new URL(name, this.base));
    return answer.ok ? answer.json() : null;
  }
}
