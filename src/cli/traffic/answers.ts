/**
 * The registry's answers about calls, checked before they are shown: another program may listen
 * there. Fields that commands do not read are not checked.
 */
import type { Graph } from '../../registry/traffic/graph.ts'
import type { ServiceInstance } from '../../registry/traffic/instances.ts'
import type { RoutesAnswer } from '../../registry/traffic/routes.ts'
import type { ServicesAnswer } from '../../registry/traffic/services.ts'
import { type Check, flag, instant, listOf, number, numbers, optional, shape, text } from '../answer-shape.ts'

export interface TrafficAnswers {
  readonly graph: Graph
  readonly services: ServicesAnswer
  readonly routes: RoutesAnswer
  readonly instances: { readonly instances: readonly ServiceInstance[] }
}

/** `null` is unknown. */
const known = optional(number)

const FIGURES = {
  ...{ perSecond: known, success: known, p50: known, p90: known, p99: known, calls: known, retries: known },
  ...{ codes: numbers, gap: known },
}

const COVERED = {
  windowMs: number,
  coverage: shape({
    ...{ processes: number, heard: number, silent: listOf(text), notReporting: number },
    unreachable: listOf(shape({ registry: text, reason: text })),
  }),
}

const NODE = shape({ service: text, instances: known, healthy: known })

const EDGE = shape({
  ...FIGURES,
  ...{ from: text, to: text, inFlight: known, tls: optional(flag), circuit: optional(text), ejected: known },
})

const SERVICE = shape({
  ...FIGURES,
  ...{ service: text, instances: known, healthy: known, inFlight: known },
  ...{ callers: listOf(text), versions: optional(numbers) },
})

const ROUTE = shape({
  ...FIGURES,
  ...{ route: text, protocol: text, method: text, callers: listOf(text), versions: optional(numbers) },
})

const INSTANCE = shape({
  ...{ address: text, version: optional(text), zone: optional(text), state: text, disabled: flag },
  served: optional(shape({ perSecond: known, success: known, p50: known, p99: known, inFlight: known, share: known })),
})

const CHECKS: Readonly<Record<keyof TrafficAnswers, Check>> = {
  graph: shape({ ...COVERED, at: instant, nodes: listOf(NODE), edges: listOf(EDGE) }),
  services: shape({ ...COVERED, at: instant, services: listOf(SERVICE) }),
  routes: shape({ ...COVERED, service: text, routes: listOf(ROUTE), left: number }),
  instances: shape({ instances: listOf(INSTANCE) }),
}

/** The path of the first value that is invalid; `undefined`: the answer can be read. */
export function mistakeIn(question: keyof TrafficAnswers, answer: unknown): string | undefined {
  return CHECKS[question](answer, '')
}
