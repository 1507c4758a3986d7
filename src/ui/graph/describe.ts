/** Services and edges in words: what a pointer, and a reader who hears the page, gets of them. */
import type { GraphEdge, GraphNode } from '../../registry/traffic/graph.ts'
import { latency, percent, rate, shares, UNKNOWN } from '../format.ts'
import { findingsOfEdge, findingsOfNode } from './severity.ts'

export function instancesOf({ instances, healthy, outside }: GraphNode): string {
  if (outside) return 'not of the mesh'
  if (instances === null || healthy === null) return 'in the past'
  return instances === 0 ? 'calls only' : `${healthy}/${instances} ready`
}

export function describeNode(node: GraphNode, at: number): string {
  const findings = findingsOfNode(node, at).map(({ text }) => text)
  const versions = Object.keys(node.versions ?? {})
  const named = versions.length === 0 ? [] : [`versions ${versions.join(' ')}`]
  return [node.service, instancesOf(node), ...named, ...findings].join(', ')
}

export function describeEdge(edge: GraphEdge): string {
  const { from, to, perSecond, success, p50, p99, tls, versions, retries, inFlight } = edge
  return [
    `${from} calls ${to}: ${perSecond === null ? 'not heard' : rate(perSecond)}`,
    `success ${percent(success)}, p50 ${latency(p50)}, p99 ${latency(p99)}`,
    `retries ${retries ?? UNKNOWN}, in flight ${inFlight ?? UNKNOWN}`,
    `mTLS ${tls === null ? UNKNOWN : tls ? 'yes' : 'no'}, versions ${shares(versions)}`,
    ...findingsOfEdge(edge).map(({ text }) => text),
  ].join('\n')
}
