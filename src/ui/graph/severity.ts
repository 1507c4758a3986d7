/** How worried a reader should be about a service or an edge, and in which words. */
import type { GraphEdge, GraphNode } from '../../registry/traffic/graph.ts'
import { percent, span } from '../format.ts'

/** `unheard`: nothing is known of it. */
export type Severity = 'good' | 'warn' | 'bad' | 'unheard'

export interface Finding {
  readonly severity: Severity
  readonly text: string
}

const WARN_BELOW = 0.995
const BAD_BELOW = 0.95
const SOON_MS = 60_000
/** The worst first. */
export const SERIOUS: readonly Severity[] = ['bad', 'warn', 'unheard', 'good']

export function worst(findings: readonly Finding[]): Severity {
  return SERIOUS.find((one) => findings.some(({ severity }) => severity === one)) ?? 'good'
}

export function findingsOfEdge(edge: GraphEdge): Finding[] {
  const { success, circuit, ejected, gap, tls, perSecond } = edge
  const found: Finding[] = []
  if (circuit === 'open') found.push({ severity: 'bad', text: 'circuit open' })
  if (circuit === 'half-open') found.push({ severity: 'warn', text: 'circuit half-open' })
  if (ejected !== null && ejected > 0) found.push({ severity: 'warn', text: `${ejected} ejected` })
  if (success !== null && success < WARN_BELOW) {
    found.push({ severity: success < BAD_BELOW ? 'bad' : 'warn', text: `success ${percent(success)}` })
  }
  if (tls === false) found.push({ severity: 'warn', text: 'no mTLS' })
  if (perSecond === null) found.push({ severity: 'unheard', text: 'not heard' })
  else if (gap > 0.01) found.push({ severity: 'unheard', text: `${percent(gap)} not heard` })
  return found
}

export function findingsOfNode(node: GraphNode, now: number): Finding[] {
  const { panic, frozen, instances, healthy, draining, gap, certificateEndsAt } = node
  const found: Finding[] = []
  if (panic) found.push({ severity: 'bad', text: 'panic: all are used' })
  if (frozen === true) found.push({ severity: 'warn', text: 'leases frozen' })
  if (instances !== null && healthy !== null && instances > 0) {
    const away = instances - healthy - (draining ?? 0)
    if (healthy === 0) found.push({ severity: 'bad', text: 'no instance is ready' })
    else if (away > 0) found.push({ severity: 'warn', text: `${away} not ready` })
  }
  if (draining !== null && draining > 0) found.push({ severity: 'good', text: `${draining} draining` })
  if (certificateEndsAt !== null && certificateEndsAt - now < SOON_MS) {
    found.push({ severity: 'warn', text: `a certificate ends in ${span(certificateEndsAt - now)}` })
  }
  if (gap > 0.01) found.push({ severity: 'unheard', text: `${percent(gap)} not heard` })
  return found
}
