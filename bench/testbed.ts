/** Starts the processes that benches of calls need: a registry, and servers registered with it. */
import type { PolicyDocument } from '../src/discovery/policy-document.ts'
import type { Registry } from '../src/registry/index.ts'
import { type Credentials, join, request } from '../test/rigs/registry-session.ts'
import { Subject } from './harness.ts'
import type { ServerJob, ServerReady } from './server-process.ts'

/** What a registry's process tells when it is ready. */
export interface RegistryReady {
  readonly url: string
  readonly roots: readonly string[]
  readonly revision: number
  readonly dev: boolean
}

/** A certificate of the mesh, for those that are no member of it. */
export interface MeshCredentials extends Credentials {
  readonly ca: readonly string[]
}

export async function startRegistryProcess(options: object): Promise<Subject & { ready: RegistryReady }> {
  return (await Subject.start(new URL('./registry-process.js', import.meta.url), options)) as never
}

export async function credentialsFor(registry: RegistryReady, service: string): Promise<MeshCredentials> {
  const credentials = await join(registry as unknown as Registry, service)
  return { ...credentials, ca: registry.roots }
}

export async function applyPolicy(registry: RegistryReady, document: PolicyDocument): Promise<void> {
  const path = `/v1/policies/${document.service}`
  const { status, json } = await request(registry as unknown as Registry, 'PUT', path, { body: document })
  if (status >= 300) throw new Error(`${document.service}: the document was refused: ${JSON.stringify(json)}`)
}

export async function startServer(job: ServerJob): Promise<Subject & { ready: ServerReady }> {
  return (await Subject.start(new URL('./server-process.ts', import.meta.url), job)) as never
}
