/** The answer to a question, asked again at an interval and when the path changes. */
import { useCallback, useEffect, useState } from 'preact/hooks'
import { ask, Refusal } from './api.ts'

export interface Answered<T> {
  readonly answer: T | undefined
  readonly trouble: string | undefined
  readonly askAgain: () => void
}

/** `everyMs`: 0 asks once. `path`: empty asks nothing. */
export function useAnswer<T>(path: string, everyMs = 0): Answered<T> {
  const [state, setState] = useState<{ path: string; answer?: T; trouble?: string }>({ path })
  const [turn, setTurn] = useState(0)
  useEffect(() => {
    if (path === '') return
    const stop = new AbortController()
    const once = (): void => {
      ask<T>(path, stop.signal).then(
        (answer) => setState({ path, answer }),
        (error: unknown) => {
          if (stop.signal.aborted) return
          const trouble = error instanceof Refusal ? error.message : 'the registry does not answer'
          setState((before) => ({ ...(before.path === path && before), path, trouble }))
        },
      )
    }
    once()
    const timer = everyMs > 0 ? setInterval(once, everyMs) : undefined
    return () => {
      stop.abort()
      clearInterval(timer)
    }
  }, [path, everyMs, turn])
  const askAgain = useCallback(() => setTurn((one) => one + 1), [])
  // Never the answer to another question.
  const isOurs = state.path === path
  return { answer: isOurs ? state.answer : undefined, trouble: isOurs ? state.trouble : undefined, askAgain }
}
