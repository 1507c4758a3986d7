/**
 * The thread between a test and a process it started: options in, reports out, and no life without
 * the test.
 */
import type { Serializable } from 'node:child_process'
import { existsSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

// biome-ignore lint/suspicious/noExplicitAny: each process knows its own options
export const options: any = JSON.parse(process.argv[2] ?? '{}')
// Several that begin at once on a busy machine take longer than a service would wait.
if (options.mesh !== undefined) options.mesh.joinTimeout ??= '30s'

/**
 * The URL of a module of the library, such as `index`: from the checkout that the option `library`
 * names, built or as it is written. Absent: from this one.
 */
export function libraryFor(module: string): string {
  const { library } = options
  if (library === undefined) return new URL(`../../../src/${module}.ts`, import.meta.url).href
  const built = `${library}/dist/${module}.js`
  return pathToFileURL(existsSync(built) ? built : `${library}/src/${module}.ts`).href
}

export function report(message: Serializable): void {
  process.send?.(message, () => undefined)
}

/**
 * Obeys orders until the test goes away; then ends. `clock:<ms>` puts the wall clock so far ahead
 * of the system's.
 */
export function obey(order: (message: string) => void): void {
  const { now } = Date
  process.on('message', (message: string) => {
    if (!message.startsWith('clock:')) return order(message)
    const aheadMs = Number(message.slice('clock:'.length))
    Date.now = () => now() + aheadMs
    report({ aheadMs })
  })
  process.on('disconnect', () => process.exit(3))
}
