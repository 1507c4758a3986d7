/**
 * `node --import inmesh/auto app.js` meshes an unchanged program. Nothing is joined before the
 * program serves, or calls a service.
 */
import { install } from './install.ts'

const INSTALLED = Symbol.for('inmesh.auto')

// Given twice, or from two copies of the package, it is installed once.
const known = globalThis as { [INSTALLED]?: boolean }
if (known[INSTALLED] !== true) {
  known[INSTALLED] = true
  install(process.env)
}
