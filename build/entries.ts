/** The ways into the package, by `exports` of its manifest. */
import manifest from '../package.json' with { type: 'json' }

export interface Entry {
  /** As it stands in `exports`: `.` or `./resilience`. */
  readonly path: string
  /** Below `dist/`, without extension: `resilience/index`. */
  readonly file: string
}

/** What each way in names after `npm run exports`. */
export function conditionsOf(file: string): Record<string, string> {
  return {
    // Edge runtimes have no sockets.
    ...(file === 'index' && { 'edge-light': './dist/no-node.js', workerd: './dist/no-node.js' }),
    // Node, and Jest where it can load ES modules: one copy for `import` and for `require`.
    'module-sync': `./dist/${file}.js`,
    // Bundlers, likewise.
    module: `./dist/${file}.js`,
    // What is left: TypeScript of a CommonJS file, and Jest without flags.
    require: `./dist/commonjs/${file}.cjs`,
    default: `./dist/${file}.js`,
  }
}

/** The modules among the ways in; each has a CommonJS copy. */
export const ENTRIES: readonly Entry[] = Object.entries(manifest.exports).flatMap(([path, target]) =>
  typeof target === 'object' ? [{ path, file: target.default.replace(/^\.\/dist\//, '').replace(/\.js$/, '') }] : [],
)
