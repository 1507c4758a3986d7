/** Edges as a table that sorts by each column: the picture for readers who do not see it. */
import { useState } from 'preact/hooks'
import type { GraphEdge } from '../../registry/traffic/graph.ts'
import { count, latency, percent, rate, shares } from '../format.ts'
import { linkTo, type Place } from '../place.ts'
import { findingsOfEdge, worst } from './severity.ts'

const FIGURES = ['perSecond', 'success', 'p50', 'p90', 'p99', 'retries', 'inFlight'] as const
type Column = 'from' | 'to' | (typeof FIGURES)[number]

const TITLES: Readonly<Record<Column, string>> = {
  from: 'Caller',
  to: 'Called',
  perSecond: 'Calls',
  success: 'Success',
  p50: 'p50',
  p90: 'p90',
  p99: 'p99',
  retries: 'Retries',
  inFlight: 'In flight',
}
const MOST_ROWS = 300

export function EdgeTable({ edges, place, title }: { edges: readonly GraphEdge[]; place: Place; title: string }) {
  const [by, setBy] = useState<Column>('perSecond')
  const [isUp, setUp] = useState(false)
  const sorted = [...edges].sort((a, b) => (isUp ? 1 : -1) * compare(a[by], b[by])).slice(0, MOST_ROWS)
  const sort = (column: Column): void => {
    setUp(column === by ? !isUp : column === 'from' || column === 'to' || column === 'success')
    setBy(column)
  }
  return (
    <div class="table">
      <table>
        <caption>{title}</caption>
        <thead>
          <tr>
            {(Object.keys(TITLES) as Column[]).map((column) => (
              <th
                key={column}
                scope="col"
                class={column === 'from' || column === 'to' ? '' : 'figure'}
                aria-sort={column !== by ? 'none' : isUp ? 'ascending' : 'descending'}
              >
                <button type="button" onClick={() => sort(column)}>
                  {TITLES[column]}
                  {column === by && (isUp ? ' ▴' : ' ▾')}
                </button>
              </th>
            ))}
            <th scope="col">mTLS</th>
            <th scope="col">Versions</th>
            <th scope="col">Noted</th>
          </tr>
        </thead>
        <tbody>
          {sorted.map((edge) => (
            <Row key={`${edge.from} ${edge.to}`} edge={edge} place={place} />
          ))}
        </tbody>
      </table>
      {edges.length === 0 && <p class="hint">No calls were heard of in this window.</p>}
      {edges.length > MOST_ROWS && <p class="hint">{edges.length - MOST_ROWS} more; filter to see them.</p>}
    </div>
  )
}

function Row({ edge, place }: { edge: GraphEdge; place: Place }) {
  const { from, to, perSecond, success, p50, p90, p99, retries, inFlight, tls, versions, codes } = edge
  const findings = findingsOfEdge(edge)
  const failures = Object.entries(codes).map(([code, calls]) => `${code} ${calls}`)
  return (
    <tr class={worst(findings)} data-edge={`${from} ${to}`}>
      <th scope="row">
        <a href={linkTo({ view: 'service', service: from }, place)}>{from}</a>
      </th>
      <td>
        <a href={linkTo({ view: 'service', service: to }, place)}>{to}</a>
      </td>
      <td class="figure" data-figure="perSecond" data-value={perSecond ?? ''}>
        {rate(perSecond)}
      </td>
      <td class="figure" title={failures.join(', ')}>
        {percent(success)}
      </td>
      <td class="figure">{latency(p50)}</td>
      <td class="figure">{latency(p90)}</td>
      <td class="figure">{latency(p99)}</td>
      <td class="figure">{count(retries)}</td>
      <td class="figure">{count(inFlight)}</td>
      <td>{tls === null ? '–' : tls ? 'yes' : 'no'}</td>
      <td>{shares(versions)}</td>
      <td>{[...findings.map(({ text }) => text), ...failures].join(', ')}</td>
    </tr>
  )
}

/** What is not known comes last. */
function compare(a: string | number | null, b: string | number | null): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? -1 : 1
  return typeof a === 'string' ? a.localeCompare(String(b)) : a - (b as number)
}
