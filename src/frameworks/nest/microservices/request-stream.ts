/**
 * The request stream of a gRPC handler: each message once, in order, and none before the handler
 * subscribes. Nest's own replays what came early after what came later (docs/decisions/0068).
 */
import { Observable, Subject } from 'rxjs'

/** The stream of the call, as grpc-js passes it to a handler. */
export interface RequestCall {
  pause(): unknown
  resume(): unknown
  listenerCount(event: string): number
}

/** Messages that wait for a subscriber: as many as a stream of Node holds. The caller has more. */
const MOST_HELD = 16

/**
 * @param source - emits from now on, and in order
 * @returns a hot observable; messages wait while nothing is subscribed to it
 */
export function requestStream<T>(source: Observable<T>, call: RequestCall): Observable<T> {
  const live = new Subject<T>()
  let held: T[] | undefined = []
  let end: (() => void) | undefined
  let delivering = false
  let paused = false

  function hold(message: T, waiting: T[]): void {
    waiting.push(message)
    if (waiting.length < MOST_HELD || delivering) return
    // A handler that reads the call itself would wait for ever, and needs no observable.
    if (call.listenerCount('data') > 1) waiting.shift()
    else {
      paused = true
      call.pause()
    }
  }

  function deliver(): void {
    // Node iterates over messages that arrive meanwhile, too.
    while (held !== undefined && live.observed) {
      const message = held.shift()
      if (message !== undefined) live.next(message)
      else held = undefined
    }
    delivering = false
    if (held !== undefined) return
    end?.()
    if (paused) call.resume()
    paused = false
  }

  function finish(how: () => void): void {
    end = how
    if (held === undefined) how()
  }

  source.subscribe({
    next(message) {
      if (held === undefined && live.observed) return live.next(message)
      held ??= []
      hold(message, held)
    },
    error: (reason) => finish(() => live.error(reason)),
    complete: () => finish(() => live.complete()),
  })

  return new Observable((subscriber) => {
    const subscription = live.subscribe(subscriber)
    if (held !== undefined && !delivering) {
      delivering = true
      // Other subscriptions of the same handler come first.
      setImmediate(deliver)
    }
    return subscription
  })
}
