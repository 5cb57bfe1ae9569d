/** How a layer is drawn: styles for OpenLayers' WebGLTile, and the same colours for legends. */

// Viridis (matplotlib), seven of its colours: even steps of lightness, also without colour.
export const RAMP = ['#440154', '#443983', '#31688e', '#21918c', '#35b779', '#90d743', '#fde725'];
const CLEAR = 'rgba(0,0,0,0)';
// A palette is a texture of one row, which graphics cards limit.
const WIDEST = 4096;

/** Colours along the ramp of a quantity: pairs of value and colour. */
export function stops(layer) {
  const [low, high] = layer.range;
  return RAMP.map((color, k) => [low + ((high - low) * k) / (RAMP.length - 1), color]);
}

export function tileStyle(layer, off) {
  if (layer.kind === 'imagery') {
    return {color: ['color', ['band', 1], ['band', 2], ['band', 3], ['band', 4]]};
  }
  const clear = (color) => ['case', ['==', ['band', 2], 0], CLEAR, color];
  if (layer.kind === 'classes') return {color: clear(classColor(layer, off))};
  const quantity = ['+', ['*', ['band', 1], layer.scale], layer.offset];
  return {color: clear(['interpolate', ['linear'], quantity, ...stops(layer).flat()])};
}

function classColor(layer, off) {
  const shown = layer.classes.filter((one) => !off.includes(one.value));
  if (!shown.length) return CLEAR;
  const values = shown.map((one) => one.value);
  const largest = Math.max(...values);
  if (Math.min(...values) < 0) return matched(shown);
  if (largest < WIDEST) return fromPalette(shown, ['band', 1], (value) => value, largest);
  // Codes of transitions, 256 times the class before plus the class after: without the gaps.
  const width = Math.max(...values.map((value) => value % 256)) + 1;
  const place = (value) => Math.floor(value / 256) * width + (value % 256);
  const last = Math.max(...values.map(place));
  if (last >= WIDEST) return matched(shown);
  const before = ['floor', ['/', ['band', 1], 256]];
  const after = ['-', ['band', 1], ['*', before, 256]];
  const index = ['case', ['<', after, width], ['+', ['*', before, width], after], last + 1];
  return fromPalette(shown, index, place, last);
}

const matched = (shown) => ['match', ['band', 1], ...shown.flatMap((one) => [one.value, one.color]), CLEAR];

function fromPalette(shown, index, place, last) {
  const palette = new Array(last + 2).fill(CLEAR);
  for (const one of shown) palette[place(one.value)] = one.color;
  return ['palette', ['clamp', index, 0, last + 1], palette];
}
