/** What this workload sees as a member: its own instances, and each service that it calls. */
import { once } from 'node:events'
import { reasonOf } from '../../core/errors.ts'
import type { ExplainOptions } from '../../discovery/explain-request.ts'
import type { ExplainedEndpoint, ExplainedIntention, Explanation } from '../../discovery/explanation.ts'
import type { Mesh } from '../../mesh/mesh.ts'
import type { Finding } from './finding.ts'
import { connectionMistake } from './registry-checks.ts'

/** Of one service; more are not connected to. */
const MOST_ENDPOINTS = 10
const CONNECT_TIMEOUT = '3s'

/** A service that this workload calls, as `--to` names it. */
export interface Dependency {
  /** As it was given. */
  readonly name: string
  readonly request: ExplainOptions
}

export async function checkRegistration(mesh: Mesh): Promise<Finding> {
  const { service } = mesh
  const [target] = (await mesh.explain({ service })).targets
  const endpoints = target?.endpoints ?? []
  if (endpoints.length > 0) {
    return { check: 'registration', state: 'ok', message: `${endpoints.map(shown).join(', ')}` }
  }
  const message = `the registry lists no instance of '${service}'`
  const todo = 'is the workload running, and has `mesh.serve` resolved? A process that only calls has none'
  return { check: 'registration', state: 'warning', message, todo }
}

function shown({ address, version, state }: ExplainedEndpoint): string {
  return `${address}${version === null ? '' : ` (${version})`} ${state}`
}

/** Resolvable, authorized, reachable; the first that fails ends it. */
export async function checkDependency(mesh: Mesh, { name, request }: Dependency): Promise<readonly Finding[]> {
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
  for (const { key, service, endpoints, intention } of explained.targets) {
    const to = key === '' ? '' : `target '${key}' `
    const at = { ...finding, subject: `${name} ${to}`.trimEnd() }
    if (endpoints.length === 0) {
      const todo = `start an instance, or check the name: \`inmesh services\``
      found.push({ ...at, state: 'failed', message: `no instance of '${service}' is registered`, todo })
      continue
    }
    found.push(authorized(at, intention, service, mesh.service))
    found.push(await reachable(at, endpoints))
  }
  const refused = found.some(({ state }) => state === 'failed')
  if (request.protocol === 'tcp' && !refused) found.push(await connects(mesh, finding, request.service))
  return found
}

function authorized(
  at: Pick<Finding, 'check' | 'subject'>,
  { allowed, rule, from }: ExplainedIntention,
  service: string,
  us: string,
): Finding {
  const by =
    from === 'default'
      ? 'no document says anything'
      : `${rule} of ${from === 'mesh' ? "the document 'mesh'" : `the document of '${service}'`}`
  const finding = { ...at, check: 'intention' }
  if (allowed) return { ...finding, state: 'ok', message: `'${us}' may call it (${by})` }
  return {
    ...finding,
    state: 'failed',
    message: `'${us}' may not call it (${by})`,
    todo: `add \`allow: [{ from: ${us} }]\` to the document of '${service}', and \`inmesh apply\` it`,
  }
}

async function reachable(
  at: Pick<Finding, 'check' | 'subject'>,
  endpoints: readonly ExplainedEndpoint[],
): Promise<Finding> {
  const asked = endpoints.slice(0, MOST_ENDPOINTS)
  const mistakes = await Promise.all(
    asked.map(async ({ address }) => {
      const split = address.lastIndexOf(':')
      const host = address.slice(0, split).replace(/^\[|\]$/g, '')
      const mistake = await connectionMistake(host, Number(address.slice(split + 1)))
      return mistake === undefined ? undefined : `${address}: ${mistake}`
    }),
  )
  const failed = mistakes.filter((mistake) => mistake !== undefined)
  const count = `${asked.length - failed.length} of ${asked.length} instances take connections`
  if (failed.length === 0) return { ...at, state: 'ok', message: count }
  const state = failed.length === asked.length ? 'failed' : 'warning'
  const todo =
    'is the instance up, does a firewall let this machine in, and is its `advertise` an address others reach?'
  return { ...at, state, message: `${count}; ${failed.join(', ')}`, todo }
}

/** A connection that carries nothing is harmless, and shows that the servers let us in. */
async function connects(mesh: Mesh, at: Pick<Finding, 'check' | 'subject'>, service: string): Promise<Finding> {
  const socket = mesh.connect(service, { timeout: CONNECT_TIMEOUT })
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
