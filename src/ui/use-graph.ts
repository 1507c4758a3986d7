/** The graph of a window: live by a stream, opened again when it breaks, or of the past. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Graph } from '../registry/traffic/graph.ts'
import { ask, Refusal, streamGraph } from './api.ts'
import type { Place } from './place.ts'

const AGAIN_MS = 3_000

export interface Shown {
  readonly graph: Graph | undefined
  /** Why the graph is not the latest; `undefined`: it is. */
  readonly trouble: string | undefined
}

/** `onEnd`: the session is over. */
export function useGraph({ windowS, at }: Place, onEnd: () => void): Shown {
  const [shown, setShown] = useState<Shown>({ graph: undefined, trouble: undefined })
  const end = useRef(onEnd)
  end.current = onEnd
  useEffect(() => {
    const stop = new AbortController()
    const show = (graph: Graph): void => setShown({ graph, trouble: undefined })
    const fail = (error: unknown): void => {
      if (stop.signal.aborted) return
      if (error instanceof Refusal && error.status === 401) end.current()
      const trouble = error instanceof Refusal ? error.message : 'the registry does not answer'
      setShown(({ graph }) => ({ graph, trouble }))
    }
    if (at !== undefined) {
      ask<Graph>(`/v1/traffic/graph?window=${windowS}s&at=${at}`, stop.signal).then(show, fail)
      return () => stop.abort()
    }
    void (async () => {
      while (!stop.signal.aborted) {
        await streamGraph<Graph>(windowS * 1_000, show, stop.signal).catch(fail)
        await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
      }
    })()
    return () => stop.abort()
  }, [windowS, at])
  return shown
}
