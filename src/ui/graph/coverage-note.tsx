/** Says how much of the mesh was heard: what is missing in all figures beside it. */
import type { Graph } from '../../registry/traffic/graph.ts'

export function CoverageNote({ graph: { coverage, at, windowMs } }: { graph: Graph }) {
  const { processes, heard, silent, notReporting, registries, unreachable } = coverage
  const isWhole = heard === processes && unreachable.length === 0
  return (
    <p class={isWhole ? 'hint' : 'hint unheard'} data-at={at} data-window={windowMs}>
      {heard} of {processes} processes heard
      {registries.length > 1 && `, ${registries.length} registries`}
      {notReporting > 0 && `, ${notReporting} do not report`}
      {unreachable.length > 0 && `, no answer of ${unreachable.map(({ registry }) => registry).join(', ')}`}
      {silent.length > 0 && (
        <details>
          <summary>Not wholly heard</summary>
          {silent.join(', ')}
        </details>
      )}
    </p>
  )
}
