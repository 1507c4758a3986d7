/**
 * What bundlers load in place of `inmesh` for runtimes without sockets (`edge-light` of Next.js,
 * `workerd`): the same names, and one error that says what to do.
 */
import { MeshError } from './core/errors.ts'

export { isMeshError, MeshError, meshErrorOf } from './core/errors.ts'
export { OptionsError } from './options/fields.ts'
export { problemOf } from './server/http/problem.ts'

const MESSAGE =
  'inmesh needs Node.js, and this code was built for an edge runtime, which has no sockets. In Next.js, leave out ' +
  "`export const runtime = 'edge'`, and let instrumentation.ts import the mesh only if process.env.NEXT_RUNTIME " +
  "is 'nodejs'"

/** Rejects: there is no mesh without sockets. */
export async function joinMesh(): Promise<never> {
  throw new MeshError(MESSAGE, { code: 'not-in-mesh' })
}

/** Rejects: there is no mesh without sockets. */
export const joinOnce = joinMesh

/** Nothing is served here. */
export function currentCall(): undefined {
  return undefined
}

/** Nothing is served here, so `work` is detached already. */
export function detached<T>(work: () => T): T {
  return work()
}
