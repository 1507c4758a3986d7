/** What registries ask one another about traffic. No answer asks further, so there are no loops. */
import { fields, instance, list, oneOf, optional } from '../../options/fields.ts'
import { serviceName } from '../../options/names.ts'
import { number } from '../../options/quantities.ts'
import type { Part } from '../traffic/cells.ts'
import { certificatesOf } from '../traffic/certificates.ts'
import { type ProcessReport, reportsOf } from '../traffic/instances.ts'
import type { MeshTraffic } from '../traffic/mesh-traffic.ts'
import type { AgedMark } from '../traffic/peer-answers.ts'
import type { Watcher } from '../watch/watcher.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { ApiError, invalid } from './error.ts'
import { checkBody } from './handling.ts'
import { sendJson } from './request.ts'

const HOUR_MS = 3_600_000
const PARTS = ['via', 'protocol', 'method', 'route', 'version', 'zone', 'tls'] as const satisfies readonly Part[]

const QUESTION = fields({
  agoMs: number({ min: 0, max: 2 * HOUR_MS }),
  windowMs: number({ min: 1, max: 2 * HOUR_MS }),
  stepMs: number({ min: 1, max: 2 * HOUR_MS }),
  by: list(oneOf(PARTS), { max: PARTS.length }),
  service: optional(serviceName()),
  // Empty: callers that are not of the mesh.
  from: optional(instance<string>('a service name', (value) => typeof value === 'string' && value.length <= 63)),
  to: optional(serviceName()),
  called: optional(serviceName()),
})

/** @throws ApiError `not-found` from a registry that keeps no traffic */
export function trafficOf({ traffic }: ApiContext): MeshTraffic {
  if (traffic !== undefined) return traffic
  throw new ApiError('not-found', 'this registry keeps no traffic; it was started with --no-traffic')
}

export async function answerRegistry(context: ApiContext, { response, query }: ApiRequest): Promise<void> {
  const traffic = trafficOf(context)
  const kind = query.get('kind')
  const registry = traffic.id
  await traffic.traffic.work()
  if (kind === 'window') {
    sendJson(response, 200, await traffic.answer(checkBody(QUESTION, parse(query.get('question')), 'question')))
  } else if (kind === 'processes') {
    sendJson(response, 200, { registry, processes: localProcesses(context, query.get('service') ?? '') })
  } else if (kind === 'marks') {
    sendJson(response, 200, { registry, marks: localMarks(context, Number(query.get('ago') ?? HOUR_MS)) })
  } else if (kind === 'certificates') {
    sendJson(response, 200, { registry, certificates: certificatesOf(traffic.traffic.processes.expected()) })
  } else {
    throw invalid('query', [{ path: ['kind'], message: "expected 'window', 'processes', 'marks' or 'certificates'" }])
  }
}

export function localProcesses(context: ApiContext, service: string): ProcessReport[] {
  const { traffic, id } = trafficOf(context)
  return reportsOf(traffic, id, service, context.state.service(service), ({ session }) =>
    session === undefined ? undefined : context.hub.watchingOf(session as unknown as Watcher),
  )
}

export function localMarks(context: ApiContext, agoMs: number): AgedMark[] {
  const { traffic } = trafficOf(context)
  const now = traffic.now()
  return [...traffic.marks.since(now - agoMs)].map((mark) => ({ ...mark, agoMs: now - mark.at }))
}

function parse(text: string | null): unknown {
  try {
    return JSON.parse(text ?? '')
  } catch {
    return undefined
  }
}
