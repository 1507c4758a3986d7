/** The service graph in the languages of Mermaid and Graphviz. Names are text, never syntax. */
import type { Graph, GraphEdge, GraphNode } from '../../registry/traffic/graph.ts'
import { printable } from '../terminal.ts'
import { figure, percent, ready } from './figures.ts'

const RED = '#c62828'

export function mermaidOf(graph: Graph): string[] {
  const { edges } = graph
  const nodes = nodesOf(graph)
  const ids = idsOf(nodes)
  const circuits = edges.flatMap((edge, at) => (edge.circuit === 'open' ? [String(at)] : []))
  return [
    'flowchart LR',
    ...nodes.map((node) => `  ${ids.get(node.service)}["${nodeLines(node).map(mermaidText).join('<br/>')}"]`),
    ...edges.map(({ from, to, ...edge }) => {
      const label = edgeLines({ from, to, ...edge })
        .map(mermaidText)
        .join('<br/>')
      return `  ${ids.get(from)} ${edge.gap > 0 ? '-.->' : '-->'}|"${label}"| ${ids.get(to)}`
    }),
    ...(circuits.length === 0 ? [] : [`  linkStyle ${circuits.join(',')} stroke:${RED}`]),
  ]
}

export function dotOf(graph: Graph): string[] {
  const { edges } = graph
  const nodes = nodesOf(graph)
  const ids = idsOf(nodes)
  const label = (lines: readonly string[]): string => `"${lines.map(dotText).join('\\n')}"`
  return [
    'digraph mesh {',
    '  rankdir=LR',
    '  node [shape=box]',
    ...nodes.map((node) => `  ${ids.get(node.service)} [label=${label(nodeLines(node))}]`),
    ...edges.map((edge) => {
      const style = `${edge.gap > 0 ? ', style=dashed' : ''}${edge.circuit === 'open' ? `, color="${RED}"` : ''}`
      return `  ${ids.get(edge.from)} -> ${ids.get(edge.to)} [label=${label(edgeLines(edge))}${style}]`
    }),
    '}',
  ]
}

type Drawn = Pick<GraphNode, 'service' | 'healthy' | 'instances' | 'outside'>

/** Also those that only an edge names, which Mermaid and Graphviz would draw by their ids. */
function nodesOf({ nodes, edges }: Graph): Drawn[] {
  const drawn = new Map<string, Drawn>(nodes.map((node) => [node.service, node]))
  for (const service of edges.flatMap(({ from, to }) => [from, to])) {
    if (!drawn.has(service)) drawn.set(service, { service, healthy: null, instances: null })
  }
  return [...drawn.values()]
}

function idsOf(nodes: readonly Drawn[]): ReadonlyMap<string, string> {
  return new Map(nodes.map(({ service }, at) => [service, `n${at}`]))
}

function nodeLines({ service, healthy, instances, outside }: Drawn): string[] {
  if (outside === true) return [service]
  return [service, `ready: ${ready(healthy, instances)}`]
}

function edgeLines({ perSecond, success, p99, gap, circuit }: GraphEdge): string[] {
  return [
    `${figure(perSecond)}/s, ${percent(success)} %, p99 ${figure(p99)} ms`,
    ...(gap > 0 ? [`gap ${percent(gap)} %`] : []),
    ...(circuit === null || circuit === 'closed' ? [] : [`circuit ${circuit}`]),
  ]
}

/** Mermaid reads `#34;` as the character of that code, and obeys most punctuation and Markdown. */
function mermaidText(text: string): string {
  return printable(text).replace(/[^\p{L}\p{N} .,:/%-]/gu, (character) => `#${character.codePointAt(0)};`)
}

/** Graphviz reads entities of HTML in every label. */
function dotText(text: string): string {
  return printable(text).replaceAll('&', '&amp;').replace(/["\\]/g, '\\$&')
}
