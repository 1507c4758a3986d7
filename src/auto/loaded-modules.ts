/**
 * Sees the modules that the application requires, by the channel on which Node tells of them: no
 * source is changed. Packages of CommonJS load their files this way, also when they are imported.
 */
import { subscribe } from 'node:diagnostics_channel'
import { dirname, join } from 'node:path'

/** A file of a package, and what to do with its exports as soon as it has run. */
export interface ModulePatch {
  /** The last part of its path, from the name of the package on. */
  readonly file: string
  /** Its export that is patched. Modules in a circle are seen before they have it. */
  readonly name: string
  patch(exports: Record<string, unknown>): void
}

interface Required {
  readonly id: string
  readonly parentFilename?: string
  readonly result?: unknown
}

export function patchModules(patches: readonly ModulePatch[]): void {
  const done = new WeakSet<object>()
  subscribe('tracing:module.require:end', (message) => {
    const { id, parentFilename = '', result } = message as Required
    if (typeof result !== 'object' || result === null || done.has(result)) return
    for (const { file, name, patch } of patches) {
      // The cheap question first: this runs for each require() of the application.
      if (!id.endsWith(lastOf(file))) continue
      if (!pathOf(parentFilename, id).endsWith(`/node_modules/${file}`)) continue
      const exports = result as Record<string, unknown>
      if (typeof exports[name] !== 'function') continue
      done.add(result)
      patch(exports)
    }
  })
}

function lastOf(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1, file.lastIndexOf('.'))
}

/** The path of a required file. */
function pathOf(parent: string, id: string): string {
  const named = id.endsWith('.js') ? id : `${id}.js`
  const path = named.startsWith('.') ? join(dirname(parent), named) : named
  return path.replaceAll('\\', '/')
}
