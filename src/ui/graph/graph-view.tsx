/** The graph of the mesh, as a picture and as a table. */
import { useMemo, useRef } from 'preact/hooks'
import type { Graph } from '../../registry/traffic/graph.ts'
import { drift, go, type Place } from '../place.ts'
import { choose } from './choose.ts'
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
  drawn.current = new Set(chosen?.nodes.map((node) => node.service))
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
          {chosen.left > 0 && (
            <p class="hint">
              The {chosen.nodes.length} services with trouble or the most calls; {chosen.left} more match.
            </p>
          )}
          <Drawing chosen={chosen} place={place} at={graph.at} />
          <EdgeTable edges={chosen.left > 0 ? graph.edges : chosen.edges} place={place} title="Calls" />
        </>
      )}
    </>
  )
}
