/** Builds `dist/commonjs`, for what cannot load ES modules: Jest without flags (decision 0066). */
import { defineConfig } from 'vite'
import { ENTRIES } from './entries.ts'

/** ES modules only, so the copy holds what it uses of them. */
const HELD = /^(?:jose|p-retry|is-network-error)(?:\/|$)/

export default defineConfig({
  clearScreen: false,
  logLevel: 'warn',
  publicDir: false,
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: 'dist/commonjs',
    emptyOutDir: true,
    target: 'node22',
    minify: false,
    // What is bundled asks for its notice.
    license: { fileName: 'licenses.md' },
    rolldownOptions: {
      preserveEntrySignatures: 'strict',
      input: Object.fromEntries(ENTRIES.map(({ file }) => [file, `dist/${file}.js`])),
      external: (id) => /^(?:node:|@?[a-z])/.test(id) && !HELD.test(id) && !id.startsWith('dist/'),
      output: {
        format: 'cjs',
        entryFileNames: '[name].cjs',
        chunkFileNames: 'chunks/[name]-[hash].cjs',
        // Jest has no `import()` either.
        dynamicImportInCjs: false,
        exports: 'named',
      },
    },
  },
})
