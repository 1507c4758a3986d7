/** The graph of the mesh, as a picture and as a table. */
import { useMemo, useRef } from 'preact/hooks'
import type { Graph } from '../../registry/traffic/graph.ts'
import { counted } from '../format.ts'
import { drift, go, type Place } from '../place.ts'
import { type Chosen, choose, drawnOf } from './choose.ts'
import { CoverageNote } from './coverage-note.tsx'
import { Drawing } from './drawing.tsx'
import { EdgeTable } from './edge-table.tsx'
import './graph.css'
import { Summary } from './summary.tsx'
import { TimeBar } from './time-bar.tsx'

export function GraphView({ place, graph }: { place: Place; graph: Graph | undefined }) {
  const { filter, service } = place
  const drawn = useRef<ReadonlySet<string>>(new Set())
  const chosen = useMemo(
    () => (graph === undefined ? undefined : choose(graph, filter, service, drawn.current)),
    [graph, filter, service],
  )
  if (chosen !== undefined) drawn.current = drawnOf(chosen)
  return (
    <>
      <div class="bar">
        <label>
          Filter{' '}
          <input
            type="search"
            value={filter}
            placeholder="a part of a name"
            maxLength={63}
            onInput={(event) => drift({ filter: event.currentTarget.value }, place)}
          />
        </label>
        <label>
          Around{' '}
          <select value={service} onChange={(event) => go({ service: event.currentTarget.value }, place)}>
            <option value="">the whole mesh</option>
            {graph?.nodes.map((node) => (
              <option key={node.service} value={node.service}>
                {node.service}
              </option>
            ))}
          </select>
        </label>
        <TimeBar place={place} heardAt={graph?.at} />
      </div>
      {graph === undefined || chosen === undefined ? (
        <p class="hint">Waiting for the registry…</p>
      ) : (
        <>
          <Summary graph={graph} place={place} />
          <CoverageNote graph={graph} />
          <LeftOut chosen={chosen} />
          <Drawing chosen={chosen} place={place} at={graph.at} />
          <EdgeTable
            edges={chosen.left + chosen.leftEdges > 0 ? graph.edges : chosen.edges}
            place={place}
            title="Calls"
          />
        </>
      )}
    </>
  )
}

function LeftOut({ chosen: { nodes, edges, left, leftEdges } }: { chosen: Chosen }) {
  const notes = [
    left > 0 &&
      `The ${nodes.length} services with trouble or the most calls; ${counted(left, 'more matches', 'more match')}.`,
    leftEdges > 0 && `The ${edges.length} lines with trouble or the most calls; ${leftEdges} more in the table.`,
  ].filter((note) => note !== false)
  return notes.length === 0 ? null : <p class="hint">{notes.join(' ')}</p>
}
