/**
 * OpenLayers' GeoZarr, for pyramids whose levels lie on their own tile lines.
 *
 * Of a `multiscales` layout GeoZarr 10.11 takes all levels to begin at the same corner, and finds no
 * array at the asset `.`, the root. Levels of rsscale reach to the tile lines of their own
 * resolution, and level 0 is the root: both are in the layout, and are passed on in the older form
 * of the convention, whose transforms GeoZarr honours.
 */
import {toSize} from 'ol/size.js';
import GeoZarr from 'ol/source/GeoZarr.js';

// A path of the root that is not empty: GeoZarr names levels without one by their number, which are
// names of other levels here.
const ROOT = './.';

export class Pyramid extends GeoZarr {
  /** Where nothing is stored, nothing is asked for: a tile without values. */
  async loadTile_(z, x, y, options) {
    if (this.skips?.(this.tileGrid.getTileCoordExtent([z, x, y]))) {
      const [width, height] = toSize(this.tileGrid.getTileSize(z));
      return new Float32Array(width * height * this.bandCount);
    }
    return super.loadTile_(z, x, y, options);
  }

  async configureLevels_(attributes, store) {
    const layout = attributes.multiscales?.layout;
    if (!layout) return super.configureLevels_(attributes, store);
    const known = this.consolidatedMetadata_;
    for (const name of Object.keys(known)) {
      if (!name.includes('/')) known[`${ROOT}/${name}`] = known[name];
    }
    const datasets = layout.map((level) => ({...level, path: level.asset === '.' ? ROOT : level.asset}));
    return super.configureLevels_({...attributes, multiscales: [{datasets}]}, store);
  }
}
