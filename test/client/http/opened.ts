/**
 * What a test of the client opens, closed again after it: scripted and ordinary servers, and rigs
 * over them.
 */
import { onTestFinished } from 'vitest'
import { isMeshError, type MeshError } from '../../../src/core/errors.ts'
import { type Script, ScriptedServer } from '../../rigs/scripted-server.ts'
import { makeRig, type Rig, type RigOptions, TestServer } from './rig.ts'

/**
 * Closed after the test, the last one first. Files of a process share this module, so a hook at its
 * top would be one of the first file alone.
 */
export function opened<T extends { close(): unknown }>(one: T): T {
  onTestFinished(async () => {
    await one.close()
  })
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
