/** One operator's tap of the whole mesh: the records that are sent, until its end. */
import type { Clock, Timer } from '../../core/clock.ts'
import { type PeerAnswer, readAnswers } from '../fleet/answer-checks.ts'
import { type FetchedTap, fetchedIn } from './fetched-tap.ts'
import type { RegistryTap, SeenCall, TapHub, TapQuestion } from './tap-hub.ts'

const FETCH_MS = 1_000
/** An operator's client gives up after 10 s of silence. */
const BEAT_MS = 3_000

export interface TapPeers {
  /** This registry's own. */
  readonly id: string
  /** Asks all others at once, each for a second at most. Never rejects. */
  readonly ask: (path: string) => Promise<readonly PeerAnswer[]>
}

/** What an operator reads, each as a line of JSON. */
export type TapRecord =
  | {
      readonly type: 'tap'
      readonly id: string
      readonly forMs: number
      readonly max: number
      /** Processes that were asked. */
      readonly processes: number
      /** Of an older version, or with `tap: false`. */
      readonly notTappable: readonly string[]
      readonly registries: readonly string[]
      readonly unreachable: readonly { readonly registry: string; readonly reason: string }[]
    }
  | ({ readonly type: 'call' } & SeenCall)
  /** Processes that were asked and serve as many taps as they may; each is named once. */
  | { readonly type: 'busy'; readonly processes: readonly string[] }
  /** Every 3 s. `left`: calls that matched and were not sent, since the beginning. */
  | { readonly type: 'beat'; readonly processes: number; readonly left: number }
  | { readonly type: 'end'; readonly why: TapEnd; readonly calls: number; readonly left: number }

/** `max`: that many calls were sent; `closing`: the registry stops. */
export type TapEnd = 'max' | 'time' | 'closing'

const WHY: Readonly<Record<TapEnd | 'left', string>> = {
  ...{ max: 'as many as asked for', time: 'the time is over' },
  ...{ closing: 'the registry stops', left: 'the connection ended' },
}

export interface TapOutput {
  /** False: the reader does not keep up, and misses it. */
  write(record: TapRecord): boolean
  end(): void
}

export interface OperatorTapParts {
  readonly hub: TapHub
  readonly peers: TapPeers
  readonly clock: Clock
  readonly id: string
  readonly question: TapQuestion
  readonly max: number
  /** Headers that may be shown at this moment. */
  readonly allowed: () => ReadonlySet<string>
  readonly output: TapOutput
  /** What was shown, and why no more is; once. */
  readonly ended: (detail: string) => void
}

export class OperatorTap {
  readonly #parts: OperatorTapParts
  readonly #tap: RegistryTap
  readonly #endsAt: number
  #fetching: Timer | undefined
  #beating: Timer | undefined
  #calls = 0
  #left = 0
  #elsewhere = 0
  /** Names of busy processes that the operator knows. */
  readonly #told = new Set<string>()
  /** Calls that came before all registries were asked; `undefined`: the first record is sent. */
  #early: SeenCall[] | undefined = []
  #isOpen = true

  constructor(parts: OperatorTapParts) {
    const { hub, clock, id, question } = parts
    this.#parts = parts
    this.#endsAt = clock.now() + question.forMs
    this.#tap = hub.open(id, question, {
      take: (calls, left) => this.#take(calls, left),
      over: (why) => this.#finish(why),
    })
    void this.#fetch(true)
    this.#beat()
  }

  /** The operator has left, or its token has ended. */
  close(): void {
    this.#close('left')
  }

  #close(why: TapEnd | 'left'): void {
    if (!this.#isOpen) return
    this.#isOpen = false
    const { clock, peers, id } = this.#parts
    for (const timer of [this.#fetching, this.#beating]) if (timer !== undefined) clock.stopTimer(timer)
    this.#tap.close()
    void peers.ask(`/v1/tap/local?id=${id}&end=1`)
    this.#parts.ended(`${WHY[why]}, ${this.#calls} calls shown, ${this.#left} left out`)
  }

  #take(calls: readonly SeenCall[], left: number): void {
    if (!this.#isOpen) return
    this.#left += left
    if (this.#early !== undefined) {
      this.#early.push(...calls)
      return
    }
    const { output, max } = this.#parts
    for (const call of calls) {
      if (output.write({ type: 'call', ...this.#withAllowed(call) })) this.#calls += 1
      else this.#left += 1
      if (this.#calls >= max) {
        this.#finish('max')
        return
      }
    }
  }

  /** The document may have changed, and a process may send what was not named. */
  #withAllowed({ headers, ...call }: SeenCall): SeenCall {
    if (headers === undefined) return call
    const { question } = this.#parts
    const allowed = this.#parts.allowed()
    const shown = Object.entries(headers).filter(([name]) => allowed.has(name) && question.headers.includes(name))
    return shown.length === 0 ? call : { ...call, headers: Object.fromEntries(shown) }
  }

  async #fetch(isFirst: boolean): Promise<void> {
    const { clock, peers, id, question } = this.#parts
    const forMs = Math.max(1_000, Math.round(this.#endsAt - clock.now()))
    const text = encodeURIComponent(JSON.stringify({ ...question, forMs }))
    const answers = await peers.ask(`/v1/tap/local?id=${id}&question=${text}`)
    if (!this.#isOpen) return
    const { answered, unreachable } = readAnswers(answers, fetchedIn)
    const fetched = answered.map(({ value }) => value)
    this.#elsewhere = fetched.reduce((all, { processes }) => all + processes, 0)
    if (isFirst) this.#begin(fetched, unreachable)
    this.#tellBusy([...this.#tap.busy, ...fetched.flatMap(({ busy }) => busy)])
    for (const { calls, left } of fetched) this.#take(calls, left)
    if (this.#isOpen) this.#fetching = clock.startBackgroundTimer(FETCH_MS, () => void this.#fetch(false), undefined)
  }

  /** Sends the first record, then what came before it. */
  #begin(fetched: readonly FetchedTap[], unreachable: Extract<TapRecord, { type: 'tap' }>['unreachable']): void {
    const { peers, id, question, output, max } = this.#parts
    output.write({
      type: 'tap',
      ...{ id, forMs: question.forMs, max, processes: this.#processes },
      notTappable: [...this.#tap.notTappable, ...fetched.flatMap((one) => one.notTappable)],
      registries: [peers.id, ...fetched.map(({ registry }) => registry)],
      unreachable,
    })
    const early = this.#early ?? []
    this.#early = undefined
    this.#take(early, 0)
  }

  #tellBusy(busy: readonly string[]): void {
    const processes = busy.filter((name) => !this.#told.has(name))
    if (processes.length === 0) return
    for (const name of processes) this.#told.add(name)
    this.#parts.output.write({ type: 'busy', processes })
  }

  get #processes(): number {
    return this.#tap.processes + this.#elsewhere
  }

  #beat(): void {
    const { clock, output } = this.#parts
    this.#beating = clock.startBackgroundTimer(
      BEAT_MS,
      () => {
        output.write({ type: 'beat', processes: this.#processes, left: this.#left })
        if (this.#isOpen) this.#beat()
      },
      undefined,
    )
  }

  #finish(why: TapEnd): void {
    if (!this.#isOpen) return
    if (this.#early !== undefined) {
      this.#begin([], [])
      // With what came before it, it may have had enough.
      this.#finish(why)
      return
    }
    this.#close(why)
    const { output } = this.#parts
    output.write({ type: 'end', why, calls: this.#calls, left: this.#left })
    output.end()
  }
}
