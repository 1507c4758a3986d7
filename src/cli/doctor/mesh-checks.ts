/** What this workload sees as a member: its own instances, and each service that it calls. */
import { once } from 'node:events'
import { labelOf } from '../../core/endpoint.ts'
import { reasonOf } from '../../core/errors.ts'
import type { Protocol } from '../../core/protocol.ts'
import type { ExplainOptions } from '../../discovery/explain-request.ts'
import type { ExplainedEndpoint, Explanation } from '../../discovery/explanation.ts'
import type { Instance } from '../../discovery/instance.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { Finding } from './finding.ts'
import { intentionFinding } from './intention-check.ts'

/** Of one service; more are not connected to. */
const MOST_ENDPOINTS = 10
const CONNECT_TIMEOUT_MS = 3_000
/** Until the registry has said which instances there are. */
const KNOWN_WITHIN_MS = 5_000

/** A service that this workload calls, as `--to` names it. */
export interface Dependency {
  /** As it was given. */
  readonly name: string
  readonly request: ExplainOptions
  /** Only a service is given, and no request. */
  readonly bare?: boolean
}

export async function checkRegistration(mesh: Mesh): Promise<Finding> {
  const { service } = mesh
  const instances = await mesh.instancesOf(service, KNOWN_WITHIN_MS)
  if (instances.length > 0) {
    return { check: 'registration', state: 'ok', message: instances.map(shown).join(', ') }
  }
  const message = `the registry lists no instance of '${service}'`
  const todo = 'is the workload running, and has `mesh.serve` resolved? A process that only calls has none'
  return { check: 'registration', state: 'warning', message, todo }
}

function shown(instance: Instance): string {
  const { version, protocol, state } = instance
  return `${labelOf(instance)}${version === undefined ? '' : ` (${version})`} ${protocol} ${state}`
}

/** A gRPC call of a service that is given without one. */
const ANY_METHOD = 'grpc.health.v1.Health/Check'

/** Of a bare name, one request for each protocol of its instances. */
export async function checkDependency(mesh: Mesh, dependency: Dependency): Promise<readonly Finding[]> {
  const { name, request, bare = false } = dependency
  if (!bare) return await checkRequest(mesh, name, request, [])
  const { service } = request
  const served = [...new Set((await mesh.instancesOf(service, KNOWN_WITHIN_MS)).map(({ protocol }) => protocol))]
  const findings: Finding[] = []
  for (const protocol of served.length === 0 ? ['http'] : served) {
    const asked = protocol === 'grpc' ? { grpc: ANY_METHOD } : protocol === 'tcp' ? { protocol } : {}
    const subject = served.length > 1 ? `${name} ${protocol}` : name
    findings.push(...(await checkRequest(mesh, subject, { service, ...(asked as object) }, served)))
  }
  return findings
}

/** Resolvable, authorized, reachable. `served`: the protocols of which any request will do. */
async function checkRequest(
  mesh: Mesh,
  name: string,
  request: ExplainOptions,
  served: readonly Protocol[],
): Promise<readonly Finding[]> {
  const finding = { check: 'dependency', subject: name }
  let explained: Explanation
  try {
    explained = await mesh.explain(request)
  } catch (error) {
    return [{ ...finding, state: 'failed', message: reasonOf(error), todo: 'check the name that is given with --to' }]
  }
  const { action, route } = explained
  if (action !== 'send') {
    const by = route === null ? 'no route' : `the route '${route}'`
    return [
      { ...finding, state: 'warning', message: `${by} answers by itself (${action})`, todo: `inmesh explain ${name}` },
    ]
  }
  const found: Finding[] = []
  for (const target of explained.targets) {
    const { key, service, endpoints } = target
    const at = { ...finding, subject: `${name} ${key === '' ? '' : `target '${key}' `}`.trimEnd() }
    const instances = await mesh.instancesOf(service, KNOWN_WITHIN_MS)
    if (endpoints.length === 0) {
      found.push({ ...at, state: 'failed', ...absence(service, explained.protocol, instances) })
      continue
    }
    found.push(intentionFinding(at.subject, explained, target, mesh.service, served))
    found.push(await reachable(mesh, at, endpoints, instances))
  }
  const refused = found.some(({ state }) => state === 'failed')
  if (request.protocol === 'tcp' && !refused) found.push(await connects(mesh, finding, request.service))
  return found
}

function absence(
  service: string,
  protocol: Protocol,
  instances: readonly Instance[],
): Pick<Finding, 'message' | 'todo'> {
  const [other] = instances.filter((one) => one.protocol !== protocol)
  if (other === undefined) {
    const todo = 'start an instance, or check the name: `inmesh services`'
    return { message: `no instance of '${service}' is registered`, todo }
  }
  const todo = `give --to ${service}, which takes any protocol`
  return { message: `no instance of '${service}' serves ${protocol}, only ${other.protocol}`, todo }
}

async function reachable(
  mesh: Mesh,
  at: Pick<Finding, 'check' | 'subject'>,
  endpoints: readonly ExplainedEndpoint[],
  instances: readonly Instance[],
): Promise<Finding> {
  const ids = new Set(endpoints.map(({ id }) => id))
  const asked = instances.filter(({ id }) => ids.has(id)).slice(0, MOST_ENDPOINTS)
  const mistakes = await Promise.all(
    asked.map(async (instance) => {
      const mistake = await mesh.reach(instance, CONNECT_TIMEOUT_MS)
      return mistake === undefined ? undefined : `${labelOf(instance)}: ${mistake}`
    }),
  )
  const failed = mistakes.filter((mistake) => mistake !== undefined)
  const count = `${asked.length - failed.length} of ${asked.length} instances answer`
  if (failed.length === 0 && asked.length > 0) return { ...at, state: 'ok', message: count }
  const state = failed.length === asked.length ? 'failed' : 'warning'
  const todo =
    'is the instance up, does a firewall let this machine in, and is its `advertise` an address others reach?'
  return { ...at, state, message: [count, ...failed].join('; '), todo }
}

/** A connection that carries nothing is harmless, and shows that the servers let us in. */
async function connects(mesh: Mesh, at: Pick<Finding, 'check' | 'subject'>, service: string): Promise<Finding> {
  const socket = mesh.connect(service, { timeout: CONNECT_TIMEOUT_MS })
  try {
    await once(socket, 'connect')
    return { ...at, state: 'ok', message: 'a connection was admitted' }
  } catch (error) {
    return {
      ...at,
      state: 'failed',
      message: reasonOf(error),
      todo: 'see the message; `inmesh explain tcp` shows the rules',
    }
  } finally {
    socket.destroy()
  }
}
