/**
 * Asks this registry and all others about a window, and remembers the last answers: many who look
 * at the same page cost one question.
 */
import { ApiError } from '../api/error.ts'
import { type PeerAnswer, readAnswers } from '../fleet/answer-checks.ts'
import { GoneRegistries } from './gone-registries.ts'
import { answerLocally, type LocalAnswer, type LocalQuestion } from './local-answer.ts'
import { windowIn } from './peer-answers.ts'
import { SLOT_MS } from './slots.ts'
import type { Traffic } from './traffic.ts'

/** Questions at the same time: each holds the sums of its cells. */
const MOST_AT_ONCE = 8
const MOST_WAITING = 64
const MOST_REMEMBERED = 8
/** With other registries, whose slots may end a little later. */
const OTHERS_MS = 2_000

export interface TrafficPeers {
  /** This registry's own. */
  readonly id: string
  /** Ids of the others. */
  readonly others: () => readonly string[]
  /** Asks all others at once, each for a second at most. Never rejects. */
  readonly ask: (path: string) => Promise<readonly PeerAnswer[]>
}

export interface Asked {
  /** Of a registry that answered; this one's first. */
  readonly answers: readonly LocalAnswer[]
  readonly unreachable: readonly { readonly registry: string; readonly reason: string }[]
  /** The end of the window, on the clock of the rings. */
  readonly end: number
}

export type WindowQuestion = Omit<LocalQuestion, 'agoMs'>

export class TrafficQuestions {
  readonly traffic: Traffic
  readonly #peers: TrafficPeers
  readonly #remembered = new Map<string, Promise<Asked>>()
  readonly #queue: (() => void)[] = []
  readonly #gone = new GoneRegistries()
  #atOnce = 0

  constructor(traffic: Traffic, peers: TrafficPeers) {
    this.traffic = traffic
    this.#peers = peers
  }

  /** The last instant of which everything has come. */
  async latest(): Promise<number> {
    await this.traffic.work()
    const { rings } = this.traffic
    if (this.#peers.others().length === 0) return rings.settledUntil
    return Math.min(
      rings.settledUntil,
      Math.floor((this.traffic.now() - SLOT_MS - 1_000 - OTHERS_MS) / SLOT_MS) * SLOT_MS,
    )
  }

  /** Called every second: which other registries are there. */
  look(): void {
    this.#gone.look(this.#peers.others(), this.traffic.now())
  }

  /** `end`: on the clock of the rings. `isLocal`: this registry alone. */
  async ask(question: WindowQuestion, end: number, isLocal: boolean): Promise<Asked> {
    // The latest states are not those of the end.
    const key = JSON.stringify([question, end, isLocal, this.traffic.marks.version])
    const known = this.#remembered.get(key)
    if (known !== undefined) return await known
    const asked = this.#ask(question, end, isLocal)
    this.#remembered.set(key, asked)
    if (this.#remembered.size > MOST_REMEMBERED) this.#remembered.delete(this.#remembered.keys().next().value!)
    try {
      return await asked
    } catch (error) {
      this.#remembered.delete(key)
      throw error
    }
  }

  /** The question of another registry. @throws ApiError `overloaded` */
  async answer(question: LocalQuestion): Promise<LocalAnswer> {
    await this.#enter()
    try {
      return await answerLocally(this.traffic, this.#peers.id, question)
    } finally {
      this.#leave()
    }
  }

  async #ask(question: WindowQuestion, end: number, isLocal: boolean): Promise<Asked> {
    const agoMs = this.traffic.now() - end
    const text = JSON.stringify({ ...question, agoMs: Math.round(agoMs) })
    const path = `/v1/traffic/local?kind=window&question=${encodeURIComponent(text)}`
    const [own, others] = await Promise.all([this.answer({ ...question, agoMs }), isLocal ? [] : this.#peers.ask(path)])
    const { answered, unreachable } = readAnswers(others, windowIn)
    const answers = [own, ...answered.map(({ registry, value }) => ({ ...value, registry }))]
    const gone = isLocal ? [] : this.#gone.within({ from: end - question.windowMs, to: end }, this.#peers.others())
    const lost = gone.map((registry) => ({ registry, reason: 'it is gone, and what it heard with it' }))
    return { answers, unreachable: [...unreachable, ...lost], end }
  }

  async #enter(): Promise<void> {
    if (this.#atOnce >= MOST_AT_ONCE) {
      if (this.#queue.length >= MOST_WAITING) throw new ApiError('overloaded', 'too many questions; ask again later')
      await new Promise<void>((resolve) => this.#queue.push(resolve))
    } else this.#atOnce += 1
  }

  #leave(): void {
    const next = this.#queue.shift()
    if (next === undefined) this.#atOnce -= 1
    else next()
  }
}
