/** `node bundle.js <bundler> <format> <entry> <out>` */
import { basename, dirname } from 'node:path'
import commonjs from '@rollup/plugin-commonjs'
import json from '@rollup/plugin-json'
import nodeResolve from '@rollup/plugin-node-resolve'

const [, , bundler, format, entry, out] = process.argv
/** Optional, and not installed. */
const external = ['@opentelemetry/api']

const BUNDLERS = {
  async esbuild() {
    const { build } = await import('esbuild')
    // Packages of CommonJS call require() for modules of Node, which ES modules have not.
    const banner = {
      js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
    }
    const own = format === 'esm' ? { banner } : {}
    await build({ entryPoints: [entry], outfile: out, bundle: true, platform: 'node', format, external, ...own })
  },
  async rollup() {
    const { rollup } = await import('rollup')
    const plugins = [nodeResolve({ preferBuiltins: true }), commonjs({ ignoreDynamicRequires: true }), json()]
    const bundle = await rollup({ input: entry, plugins, external, onwarn() {} })
    await bundle.write({ file: out, format, inlineDynamicImports: true })
  },
  async webpack() {
    const { default: webpack } = await import('webpack')
    const esm = format === 'esm'
    const compiler = webpack({
      mode: 'production',
      target: 'node22',
      entry: `./${entry}`,
      output: {
        path: dirname(out),
        filename: basename(out),
        ...(esm && { module: true, chunkFormat: 'module', library: { type: 'module' } }),
      },
      ...(esm && { experiments: { outputModule: true } }),
      optimization: { minimize: false },
      externals: Object.fromEntries(external.map((name) => [name, `${esm ? 'import' : 'commonjs'} ${name}`])),
    })
    const stats = await new Promise((resolve, reject) =>
      compiler.run((error, result) => (error === null ? resolve(result) : reject(error))),
    )
    if (stats.hasErrors()) throw new Error(stats.toString({ all: false, errors: true }))
  },
}

await BUNDLERS[bundler]()
