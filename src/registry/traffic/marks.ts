/** What processes said about the state of the services that they call, and when it changed. */
import type { TrafficMark } from '../../telemetry/traffic/traffic-message.ts'
import { KEPT_MS } from './slots.ts'

const MOST_PER_CALLER = 1_000
const MOST = 10_000
/** Circuits, ejected endpoints and panics of one process that are in force. */
const MOST_STATES = 1_000

/** A change, as a process of `service` saw it. */
export interface Mark extends Omit<TrafficMark, 'from'> {
  /** In ms, on the clock of the rings. */
  readonly at: number
  readonly service: string
  readonly process: string
  readonly before: string | undefined
}

/** What is out of the ordinary between two services, in one process. */
export interface MarkedState {
  readonly process: string
  readonly to: string
  readonly what: 'circuit' | 'ejected' | 'panic'
  readonly state: string
  /** Of `ejected`. */
  readonly endpoint: string
}

export class Marks {
  /** By caller, oldest first. */
  readonly #marks = new Map<string, Mark[]>()
  /** By process, then by subject. */
  readonly #states = new Map<string, Map<string, MarkedState>>()
  readonly #onChange: () => void
  #size = 0
  /** Counts the changes of states. */
  version = 0

  /** `onChange`: a state is another one. */
  constructor(onChange: () => void = () => {}) {
    this.#onChange = onChange
  }

  get size(): number {
    return this.#size
  }

  add(mark: Mark): void {
    this.#setState(mark)
    // A state as a new session tells it is no event.
    if (mark.old) return
    const marks = this.#marks.get(mark.service) ?? []
    this.#marks.set(mark.service, marks)
    marks.push(mark)
    this.#size += 1
    if (marks.length > MOST_PER_CALLER) this.#dropOldest(mark.service)
    else if (this.#size > MOST) this.#dropOldest(this.#loudest())
  }

  /** Newest last. */
  *since(at: number): IterableIterator<Mark> {
    for (const marks of this.#marks.values()) for (const mark of marks) if (mark.at >= at) yield mark
  }

  /** What was out of the ordinary at `at`, in processes that `isAlive`. */
  *statesAt(at: number, isAlive: (process: string) => boolean): IterableIterator<MarkedState> {
    /** What the marks after `at` say of the time before them. */
    const earlier = new Map<string, MarkedState | undefined>()
    for (const marks of this.#marks.values()) {
      for (const mark of marks.toReversed()) {
        if (mark.at <= at) break
        earlier.set(`${mark.process}\n${keyOf(mark)}`, stateOf(mark, mark.before ?? usual(mark)))
      }
    }
    for (const [process, states] of this.#states) {
      if (!isAlive(process)) continue
      for (const [key, state] of states) if (!earlier.has(`${process}\n${key}`)) yield state
    }
    for (const state of earlier.values()) if (state !== undefined && isAlive(state.process)) yield state
  }

  /** The process is gone, and so is what it saw. */
  end(process: string): void {
    if (this.#states.delete(process)) this.#changed()
  }

  forget(now: number): void {
    for (const [service, marks] of this.#marks) {
      let old = 0
      while (old < marks.length && marks[old]!.at < now - KEPT_MS) old += 1
      marks.splice(0, old)
      this.#size -= old
      if (marks.length === 0) this.#marks.delete(service)
    }
  }

  #setState(mark: Mark): void {
    const state = stateOf(mark, mark.now ?? (mark.what === 'ejected' ? 'on' : 'off'))
    const states = this.#states.get(mark.process) ?? new Map<string, MarkedState>()
    if (state === undefined) states.delete(keyOf(mark))
    else if (states.size < MOST_STATES) states.set(keyOf(mark), state)
    if (states.size > 0) this.#states.set(mark.process, states)
    else this.#states.delete(mark.process)
    this.#changed()
  }

  #changed(): void {
    this.version += 1
    this.#onChange()
  }

  #loudest(): string {
    let loudest = ''
    let most = 0
    for (const [service, { length }] of this.#marks) if (length > most) [loudest, most] = [service, length]
    return loudest
  }

  #dropOldest(service: string): void {
    this.#marks.get(service)?.shift()
    this.#size -= 1
  }
}

/** What ends an ejection: the endpoint gets calls again, or has left. */
const ENDS_EJECTION: ReadonlySet<string> = new Set(['restored', 'withdrawn'])

/** An ejection and its end are about the same endpoint. */
function keyOf({ what, to, protocol, route, endpoint }: Mark): string {
  const subject = ENDS_EJECTION.has(what) ? 'ejected' : what
  return `${subject}\n${to}\n${protocol ?? ''}\n${route ?? ''}\n${endpoint ?? ''}`
}

/** The state before a mark that does not name it. */
function usual({ what }: Mark): string {
  return ENDS_EJECTION.has(what) ? 'on' : 'off'
}

/** `undefined`: nothing out of the ordinary. */
function stateOf({ what, to, process, endpoint = '' }: Mark, state: string): MarkedState | undefined {
  switch (what) {
    case 'circuit':
      return state === 'closed' || state === 'off' ? undefined : { process, to, what, state, endpoint }
    case 'ejected':
    case 'restored':
    case 'withdrawn':
      return state === 'off' ? undefined : { process, to, what: 'ejected', state: 'ejected', endpoint }
    case 'panic':
      return state === 'on' ? { process, to, what, state, endpoint } : undefined
    default:
      return undefined
  }
}
