/** Names from outside in diagrams: text, and never syntax. */
import { describe, expect, it } from 'vitest'
import { dotOf, mermaidOf } from '../../../src/cli/traffic/diagram.ts'
import type { Graph, GraphEdge, GraphNode } from '../../../src/registry/traffic/graph.ts'

const EVIL = 'a"]; click n0 "javascript:alert(1)"\n`b`<script>\\\u202e#\u0007{}|'

const node = (service: string): GraphNode => ({ service, healthy: null, instances: null }) as GraphNode
const edge = (from: string, to: string, more: Partial<GraphEdge> = {}): GraphEdge =>
  ({ from, to, perSecond: null, success: null, p99: null, gap: 0, circuit: null, ...more }) as GraphEdge
const graph = (edges: readonly GraphEdge[]): Graph =>
  ({ nodes: [...new Set(edges.flatMap(({ from, to }) => [from, to]))].map(node), edges }) as unknown as Graph

describe('a diagram', () => {
  it('has names without their quotes, brackets, control characters and marks of direction', () => {
    const [, first] = mermaidOf(graph([edge(EVIL, 'b')]))
    expect(first).toMatch(/^ {2}n0\["[\p{L}\p{N} .,:/%#;?-]*<br\/>ready: -"\]$/u)
    expect(first).not.toMatch(/[\p{Cc}\p{Cf}]/u)
    expect(first).toContain('a#34;#93;#59; click n0 #34;javascript')
    const dot = dotOf(graph([edge(EVIL, 'b')]))
    expect(dot).toHaveLength(7)
    expect(dot[3]).toMatch(/^ {2}n0 \[label="(?:[^"\\]|\\.)*"\]$/)
    expect(dot.join('')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  })

  it('has entities as text, and services that only edges name', () => {
    const given = { ...graph([edge('a', '&lt;b>')]), nodes: [node('a')] } as Graph
    expect(dotOf(given).slice(3, 6)).toEqual([
      '  n0 [label="a\\nready: -"]',
      '  n1 [label="&amp;lt;b>\\nready: -"]',
      expect.stringMatching(/^ {2}n0 -> n1 /),
    ])
    expect(mermaidOf(given)[2]).toBe('  n1["#38;lt#59;b#62;<br/>ready: -"]')
    expect(mermaidOf(given)[3]).toMatch(/^ {2}n0 -->.* n1$/)
  })

  it.each(['end', 'graph', 'subgraph', 'default', 'click', 'o', 'x-1', '1'])(
    'has the name %s as text alone',
    (name) => {
      for (const line of [...mermaidOf(graph([edge(name, name)])), ...dotOf(graph([edge(name, name)]))].slice(1)) {
        expect(line.replace(/"[^"]*"/g, '""')).toMatch(
          /^(?: {2}n0(?:\[""\]| -->\|""\| n0| -> n0 \[label=""\]| \[label=""\])| {2}(?:rankdir=LR|node \[shape=box\])|digraph mesh \{|flowchart LR|\})$/,
        )
      }
    },
  )

  it('shows what is unknown as -, a gap as a dashed line, and an open circuit', () => {
    const edges = [edge('a', 'b', { gap: 0.5, circuit: 'open' }), edge('b', 'b')]
    expect(mermaidOf(graph(edges))).toEqual([
      'flowchart LR',
      '  n0["a<br/>ready: -"]',
      '  n1["b<br/>ready: -"]',
      '  n0 -.->|"-/s, - %, p99 - ms<br/>gap 50.0 %<br/>circuit open"| n1',
      '  n1 -->|"-/s, - %, p99 - ms"| n1',
      '  linkStyle 0 stroke:#c62828',
    ])
    expect(dotOf(graph(edges))[5]).toBe(
      '  n0 -> n1 [label="-/s, - %, p99 - ms\\ngap 50.0 %\\ncircuit open", style=dashed, color="#c62828"]',
    )
  })
})
