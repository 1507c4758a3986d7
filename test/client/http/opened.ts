/**
 * What a test of the client opens, closed again after it: scripted and ordinary servers, and rigs
 * over them.
 */
import { afterEach } from 'vitest'
import { isMeshError, type MeshError } from '../../../src/core/errors.ts'
import { type Script, ScriptedServer } from '../../rigs/scripted-server.ts'
import { makeRig, type Rig, type RigOptions, TestServer } from './rig.ts'

const open: { close(): unknown }[] = []

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

/** Closed after the test. */
export function opened<T extends { close(): unknown }>(one: T): T {
  open.push(one)
  return one
}

export async function serve(script: Script): Promise<ScriptedServer> {
  return opened(await new ScriptedServer(script).listen())
}

export async function rigOver(ports: number[], options?: RigOptions): Promise<Rig> {
  return opened(await makeRig(ports, options))
}

/** A rig over one ordinary server. */
export async function rigWith(
  handler: ConstructorParameters<typeof TestServer>[0],
  options?: RigOptions,
): Promise<Rig> {
  const server = opened(await new TestServer(handler).listen())
  return rigOver([server.port], options)
}

/** The error with which it rejects. */
export async function failure(promise: Promise<unknown>): Promise<MeshError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!isMeshError(error)) throw new Error(`expected a MeshError, got ${String(error)}`)
  return error
}
