/**
 * Bundle the app into one script: `node build.mjs TARGET`, after `npm ci`. `.ci/viewer` calls it.
 *
 * Beside it: the page, its style, the licences of all that is in the script, and `build.json`, by
 * which a test sees that the bundle was made from the sources as they are.
 */
import {createHash} from 'node:crypto';
import {copyFileSync, existsSync, readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {join, resolve} from 'node:path';
import {build} from 'esbuild';

const target = process.argv[2];
const STUB = 'export default {fromConfig() { throw new Error("the page reads chunks compressed by zstd or gzip only"); }};';

const made = await build({
  entryPoints: ['src/main.js'],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'none', // all of them are in licences.txt
  outfile: join(target, 'viewer.js'),
  metafile: true,
  pure: ['console.debug'], // flatgeobuf tells of every request
  plugins: [{
    // The WebAssembly of numcodecs takes a megabyte, half of it encoders: see src/zstd.js.
    name: 'codecs',
    setup(builder) {
      builder.onResolve({filter: /^numcodecs\/zstd$/}, () => ({path: resolve('src/zstd.js')}));
      builder.onResolve({filter: /^numcodecs\/(blosc|lz4)$/}, ({path}) => ({path, namespace: 'stub'}));
      builder.onLoad({filter: /.*/, namespace: 'stub'}, () => ({contents: STUB}));
    },
  }],
});
for (const name of ['index.html', 'viewer.css']) copyFileSync(name, join(target, name));

const packages = new Set(Object.keys(made.metafile.inputs)
  .map((path) => path.match(/.*node_modules\/((?:@[^/]+\/)?[^/]+)\//)?.[0]).filter(Boolean));
const texts = [...packages].sort().map((folder) => {
  const {name, version, license} = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} has no file with its licence`);
  return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`;
});
writeFileSync(join(target, 'licences.txt'), texts.join(`\n${'-'.repeat(80)}\n\n`));

const hash = (names, folder) => {
  const total = createHash('sha256');
  for (const name of names) total.update(`${name}\n`).update(readFileSync(join(folder, name)));
  return total.digest('hex');
};
const sources = ['build.mjs', 'index.html', 'package-lock.json', 'package.json', ...readdirSync('src').map((name) => `src/${name}`), 'viewer.css'].sort();
const files = ['index.html', 'licences.txt', 'viewer.css', 'viewer.js'];
writeFileSync(join(target, 'build.json'), `${JSON.stringify({sources: hash(sources, '.'), files: hash(files, target)}, null, 2)}\n`);
if (!existsSync(join(target, 'viewer.js'))) throw new Error('there is no bundle');
