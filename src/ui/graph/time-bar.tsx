/** Chooses the window and its end: live, or any moment of the last hour, also played back. */
import { useEffect, useState } from 'preact/hooks'
import type { Graph } from '../../registry/traffic/graph.ts'
import { ask } from '../api.ts'
import { clockTime, span } from '../format.ts'
import { drift, go, type Place, WINDOWS } from '../place.ts'

const HOUR_MS = 3_600_000
const STEP_MS = 5_000
/** Milliseconds of the past that a second of a replay shows. */
const REPLAY_MS = 15_000

/** Where a replay begins: what was before a young registry is not known. */
async function oldestKnown(): Promise<number> {
  const hour = ask<Graph>('/v1/traffic/graph?window=1h')
  return hour.then(({ at, windowMs }) => at - windowMs).catch(() => Date.now() - HOUR_MS)
}

export function TimeBar({ place, heardAt }: { place: Place; heardAt: number | undefined }) {
  const [isPlaying, setPlaying] = useState(false)
  const now = heardAt ?? Date.now()
  const { at } = place
  useEffect(() => {
    if (!isPlaying || at === undefined) return
    const timer = setTimeout(() => {
      const next = at + REPLAY_MS
      if (next >= Date.now() - STEP_MS) setPlaying(false)
      drift({ at: next >= Date.now() - STEP_MS ? undefined : next }, place)
    }, 1_000)
    return () => clearTimeout(timer)
  }, [isPlaying, at, place])
  const oldest = Date.now() - HOUR_MS
  return (
    <fieldset class="time" aria-label="Time">
      <label>
        Window{' '}
        <select
          value={String(place.windowS)}
          onChange={(event) => go({ windowS: Number(event.currentTarget.value) }, place)}
        >
          {WINDOWS.map((seconds) => (
            <option key={seconds} value={String(seconds)}>
              {span(seconds * 1_000)}
            </option>
          ))}
        </select>
      </label>
      <label class="moment">
        <span>{at === undefined ? `Live, ${clockTime(now)}` : `${clockTime(at)}, ${span(Date.now() - at)} ago`}</span>
        <input
          type="range"
          aria-label="Moment of the last hour"
          min={oldest}
          max={Date.now()}
          step={STEP_MS}
          value={at ?? Date.now()}
          onChange={(event) => drift({ at: Number(event.currentTarget.value) }, place)}
        />
      </label>
      <button
        type="button"
        aria-pressed={isPlaying}
        onClick={async () => {
          setPlaying(!isPlaying)
          if (at === undefined) go({ at: (await oldestKnown()) + REPLAY_MS }, place)
        }}
      >
        {isPlaying ? 'Pause' : 'Replay'}
      </button>
      <button type="button" disabled={at === undefined} onClick={() => go({ at: undefined }, place)}>
        Live
      </button>
    </fieldset>
  )
}
