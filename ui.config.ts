/** Builds the page of the mesh, `src/ui`, to static files in `dist/ui`. */
import { defineConfig } from 'vite'

export default defineConfig({
  root: 'src/ui',
  base: '/ui/',
  publicDir: false,
  clearScreen: false,
  logLevel: 'warn',
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    outDir: '../../dist/ui',
    emptyOutDir: true,
    // An image in the text would need `data:` in the page's Content-Security-Policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    target: 'es2022',
    // What is bundled asks for its notice.
    license: { fileName: 'licenses.md' },
  },
})
