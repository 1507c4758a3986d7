/**
 * Loads packages on first use, synchronously because callers are (`mesh.grpc`). A bundle hands its
 * copies in.
 */
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { OptionsError } from './fields.ts'

/**
 * The oldest supported grpc-js. In older ones a malformed message ends the process
 * (GHSA-5375-pq7m-f5r2, GHSA-99f4-grh7-6pcq).
 */
export const OLDEST_GRPC = '1.14.4'

/** In a bundle of CommonJS, `import.meta.url` is missing; packages may be beside its program. */
const require = createRequire(import.meta.url ?? process.argv[1] ?? join(process.cwd(), 'package.json'))
const loaded = new Map<string, unknown>()
const handedIn = new Map<string, { readonly module: unknown; readonly version: string }>()

/** From now on, {@link loadPackage} and {@link requirePeer} return `module` for `name`. */
export function handInPackage(name: string, module: unknown, version: string): void {
  handedIn.set(name, { module, version })
}

/** @throws Error with the code `MODULE_NOT_FOUND` */
export function loadPackage(name: string): unknown {
  return handedIn.get(name)?.module ?? require(name)
}

/**
 * Returns the package `name` in version `oldest` or a later one of the same major. `what` names the
 * feature that needs it.
 *
 * @throws OptionsError if it is not installed, or is another version
 */
export function requirePeer<T>(name: string, oldest: string, what: string): T {
  const known = loaded.get(name)
  if (known !== undefined) return known as T
  let version: string
  try {
    version = installedVersion(name)
  } catch (cause) {
    const message = `needs the package ${name}, which is not installed: npm install ${name}@^${oldest} (in a bundle: docs/compatibility.md)`
    throw Object.assign(new OptionsError(what, [{ path: [], message }]), { cause })
  }
  if (!isAtLeast(version, oldest)) {
    const message = `needs ${name} ^${oldest}, found ${version}: npm install ${name}@^${oldest}`
    throw new OptionsError(what, [{ path: [], message }])
  }
  const module = loadPackage(name) as T
  loaded.set(name, module)
  return module
}

/** @throws Error if it is not installed */
export function installedVersion(name: string): string {
  return handedIn.get(name)?.version ?? (require(`${name}/package.json`) as { version: string }).version
}

function isAtLeast(version: string, oldest: string): boolean {
  const [have, want] = [version, oldest].map((text) => text.split('-', 1)[0]!.split('.').map(Number)) as [
    number[],
    number[],
  ]
  if (have[0] !== want[0]) return false
  for (let i = 1; i < 3; i++) if (have[i] !== want[i]) return have[i]! > want[i]!
  return true
}
