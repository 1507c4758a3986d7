/** How the calls of an edge are split between versions: a bar with a part for each. */
import { percent } from '../format.ts'

const WIDTH = 84
const MOST_PARTS = 4

interface SplitBarProps {
  readonly shares: Readonly<Record<string, number>> | null
  /** The middle of its upper side. */
  readonly x: number
  readonly y: number
}

/** Nothing for one version. */
export function SplitBar({ shares, x, y }: SplitBarProps) {
  const parts = Object.entries(shares ?? {})
    .filter(([, share]) => share > 0)
    .sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }))
  if (parts.length < 2) return null
  let left = x - WIDTH / 2
  const bars = parts.slice(0, MOST_PARTS).map(([version, share], i) => {
    const part = { version, share, x: left, width: Math.max(2, share * WIDTH - 1), kind: `part-${i}` }
    left += share * WIDTH
    return part
  })
  const [first, second] = parts as [[string, number], [string, number]]
  return (
    <g class="split">
      {bars.map((bar) => (
        <rect key={bar.version} class={bar.kind} x={bar.x} y={y} width={bar.width} height="5" rx="1.5">
          <title>{`${bar.version} ${percent(bar.share)}`}</title>
        </rect>
      ))}
      <text class="tiny" x={x} y={y + 15}>
        {parts.length === 2 ? `${named(first)} · ${named(second)}` : `${parts.length} versions`}
      </text>
    </g>
  )
}

function named([version, share]: readonly [string, number]): string {
  const name = version.length > 8 ? `${version.slice(0, 7)}…` : version
  return `${name} ${Math.round(share * 100)} %`
}
