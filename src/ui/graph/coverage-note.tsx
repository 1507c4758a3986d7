/** Says how much of the mesh was heard: what is missing in all figures beside it. */
import type { Graph } from '../../registry/traffic/graph.ts'
import { counted, processName } from '../format.ts'

/** One of the figures of a list. */
export function Coverage({ graph: { coverage, at, windowMs } }: { graph: Graph }) {
  const { processes, heard, unreachable, registries } = coverage
  const isWhole = heard === processes && unreachable.length === 0
  return (
    <div class={isWhole ? '' : 'unheard'} data-at={at} data-window={windowMs}>
      <dt>processes heard{registries.length > 1 && ` by ${registries.length} registries`}</dt>
      <dd>
        {heard} of {processes}
      </dd>
    </div>
  )
}

export function CoverageNote({ graph: { coverage } }: { graph: Graph }) {
  const { silent, notReporting, unreachable } = coverage
  const notes = [
    notReporting > 0 && `${counted(notReporting, 'does', 'do')} not report.`,
    unreachable.length > 0 && `No answer of ${unreachable.map(({ registry }) => registry).join(', ')}.`,
    silent.length > 0 && `Not wholly heard: ${silent.map(processName).join(', ')}.`,
  ].filter((note) => note !== false)
  return notes.length === 0 ? null : <p class="hint unheard">{notes.join(' ')}</p>
}
