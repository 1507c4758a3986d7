/** One mesh for a process whose modules are loaded again and again, as development servers do. */
import { isDeepStrictEqual } from 'node:util'
import { MeshError } from '../core/errors.ts'
import { OptionsError } from '../options/fields.ts'
import { joinMesh } from './join-mesh.ts'
import { type JoinedOnce, joinedOnce, keepJoined } from './joined-once.ts'
import type { Mesh } from './mesh.ts'
import type { MeshOptions, MeshSettings } from './options.ts'
import { resolveMeshOptions } from './resolve-options.ts'

/**
 * The mesh of this process: joins as {@link joinMesh} does, and every further call gives the same
 * mesh, also from a module that was reloaded or bundled twice. For frameworks that load an
 * application's modules, such as Next.js. The call after a join that failed tries again, and the
 * one after `close` joins anew.
 *
 * The options of the first call count: another service is refused, other changes are in a warning.
 * In a process that `inmesh/auto` has meshed it is that mesh, with the options of the environment.
 *
 * @throws OptionsError and MeshError as {@link joinMesh}, and `not-in-mesh` during `next build`
 * @example
 * ```ts
 * export const mesh = () => joinOnce({ service: 'web', handleSignals: false })
 *
 * const answer = await (await mesh()).fetch('http://inventory/items/42')
 * ```
 */
export async function joinOnce(options?: MeshOptions): Promise<Mesh> {
  const settings = resolveMeshOptions(options)
  const joined = joinedOnce()
  if (joined !== undefined) {
    compare(settings, joined)
    return joined.mesh
  }
  assertNotBuilding(settings.service)
  const mesh = joinMesh(options)
  keepJoined({ settings, mesh, open: undefined, byAuto: false })
  return mesh
}

/** @throws OptionsError for another service */
function compare(given: MeshSettings, { settings: inForce, byAuto }: JoinedOnce): void {
  if (given.service !== inForce.service) {
    const message = `this process has joined as '${inForce.service}', and has one identity; got '${given.service}'`
    throw new OptionsError('joinOnce', [{ path: ['service'], message }])
  }
  if (byAuto) return
  const names = Object.keys(given) as (keyof MeshSettings)[]
  // Of a duration, the option has no unit.
  const changed = names.filter((name) => differs(given[name], inForce[name])).map((name) => name.replace(/Ms$/, ''))
  if (changed.length === 0) return
  process.emitWarning(`joinOnce: changed options (${changed.join(', ')}) come into force when the process restarts`, {
    type: 'InmeshWarning',
    code: 'INMESH_JOINED_ONCE',
  })
}

/** A reloaded module has new functions. */
function differs(given: unknown, inForce: unknown): boolean {
  return typeof given !== 'function' && typeof inForce !== 'function' && !isDeepStrictEqual(given, inForce)
}

/** @throws MeshError within `next build`, which renders pages in processes of its builder */
function assertNotBuilding(service: string): void {
  if (process.env.NEXT_PHASE !== 'phase-production-build') return
  const message =
    `'next build' renders a page or route that joins the mesh as ${service}, and a build is no instance of it: ` +
    "let it be rendered for each request, by `await connection()` (from 'next/server') before the first call"
  throw new MeshError(message, { code: 'not-in-mesh', service })
}
