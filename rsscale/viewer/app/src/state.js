/**
 * What the page shows: one plain object, kept in the address (`#layer=…`), so that a link opens the
 * same view. Listeners are told the names of what changed.
 */
const KEYS = {
  layer: String, span: String, axis: Number, with: String, withspan: String, withaxis: Number,
  swipe: Number, opacity: Number, off: list, under: Number, regions: String, sample: Number,
  objects: String, hide: list,
  x: Number, y: Number, r: Number, at: list,
};

function list(text) {
  return text.split(',').filter((part) => part !== '').map(Number).filter(Number.isFinite);
}

export function readHash(hash = location.hash) {
  const found = {};
  for (const [name, text] of new URLSearchParams(hash.slice(1))) {
    if (!(name in KEYS)) continue;
    const value = KEYS[name](text);
    if (typeof value !== 'number' || Number.isFinite(value)) found[name] = value;
  }
  return found;
}

export function createState(initial) {
  const values = {...initial};
  const listeners = [];
  let timer;

  function write() {
    const parts = new URLSearchParams();
    for (const name of Object.keys(KEYS)) {
      const value = values[name];
      if (value === undefined || value === null || value === '' || value === 0) continue;
      if (Array.isArray(value) && !value.length) continue;
      if (name === 'opacity' && value === 100) continue;
      if (['withspan', 'withaxis', 'swipe'].includes(name) && !values.with) continue;
      parts.set(name, Array.isArray(value) ? value.join(',') : String(value));
    }
    history.replaceState(null, '', `#${parts.toString().replaceAll('%2F', '/').replaceAll('%2C', ',')}`);
  }

  return {
    get: () => values,
    set(patch) {
      const changed = Object.keys(patch).filter((name) => String(values[name]) !== String(patch[name]));
      if (!changed.length) return;
      Object.assign(values, patch);
      for (const listener of listeners) listener(new Set(changed), values);
      clearTimeout(timer);
      timer = setTimeout(write, 150);
    },
    listen: (listener) => listeners.push(listener),
    write,
  };
}
