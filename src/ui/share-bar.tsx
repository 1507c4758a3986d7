/** Shares of a whole: a bar with a part for each, and their figures. */
import { percent } from './format.ts'

const MOST_PARTS = 4

export function ShareBar({ shares, label }: { shares: Readonly<Record<string, number>> | null; label: string }) {
  const parts = Object.entries(shares ?? {}).sort(([a], [b]) => a.localeCompare(b, undefined, { numeric: true }))
  if (parts.length === 0) return <>–</>
  let left = 0
  return (
    <span class="share-bar">
      {parts.length > 1 && (
        <svg viewBox="0 0 100 6" width="90" height="6" preserveAspectRatio="none" aria-hidden="true">
          {parts.map(([name, share], i) => {
            const x = left
            left += share * 100
            return <rect key={name} class={`part-${i % MOST_PARTS}`} x={x} y="0" width={share * 100} height="6" />
          })}
        </svg>
      )}
      <span class="unseen">{label} </span>
      {parts.map(([name, share]) => `${name} ${percent(share)}`).join(', ')}
    </span>
  )
}
