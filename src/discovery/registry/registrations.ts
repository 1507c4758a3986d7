/**
 * Keeps this process's instances registered: anew in each session, and again within one while the
 * registry is in trouble. Reports an instance that the registry has taken off its list.
 */
import type { Clock, Timer } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { Instance } from '../instance.ts'
import type { Done } from './pending-answers.ts'
import type { ClientMessage } from './wire.ts'

export interface RegistrationsHost {
  /**
   * Sends a question in the session. Rejects with `registry-unavailable` when there is none, or no
   * answer in time.
   */
  ask(message: (ref: number) => ClientMessage): Promise<Done>
  readonly connected: boolean
  /** See `RegistryObserver`. */
  unlisted(instance: Instance, why: string): void
}

interface Registration {
  instance: Instance
  /** Whether the registry has listed it, and has not said otherwise since. */
  listed: boolean
  /** Taken off, and listed again by our next heartbeat. */
  returns: boolean
  /** The next try. */
  timer: Timer | undefined
  failures: number
}

/** Between two tries in one session. */
const FIRST_RETRY_MS = 500
const LONGEST_RETRY_MS = 5_000

export class Registrations {
  readonly #clock: Clock
  readonly #host: RegistrationsHost
  readonly #all = new Map<string, Registration>()
  /** Deregistered here, but perhaps still listed; with the timer of the next try. */
  readonly #leaving = new Map<string, Timer | undefined>()
  /** Drains that wait to be seen. */
  readonly #seen = new Map<string, (how: 'seen' | 'unknown') => void>()

  constructor(clock: Clock, host: RegistrationsHost) {
    this.#clock = clock
    this.#host = host
  }

  /**
   * Resolves when the registry has stored it. It is kept registered from now on, whatever happens.
   */
  register(instance: Instance): Promise<void> {
    const one: Registration = { instance, listed: false, returns: false, timer: undefined, failures: 0 }
    this.#forget(instance.id)
    this.#left(instance.id)
    this.#all.set(instance.id, one)
    return this.#ask(one)
  }

  /**
   * Takes the instance out of every picker; resolves when all watchers have said so, or after
   * `boundMs`.
   */
  async drain(id: string, boundMs: number): Promise<'seen' | 'unknown'> {
    const one = this.#all.get(id)
    if (one === undefined) return 'unknown'
    one.instance = { ...one.instance, state: 'draining' }
    const seen = new Promise<'seen' | 'unknown'>((resolve) => {
      const timer = this.#clock.startTimer(boundMs, () => finish('unknown'), undefined)
      const finish = (how: 'seen' | 'unknown'): void => {
        this.#clock.stopTimer(timer)
        this.#seen.delete(id)
        resolve(how)
      }
      this.#seen.set(id, finish)
    })
    this.#askDrain(one)
    return seen
  }

  async deregister(id: string): Promise<void> {
    this.#forget(id)
    await this.#askToLeave(id)
  }

  /**
   * A session begins: the registry hears of all of them. Resolves when it has stored or refused
   * each; not while it is in trouble.
   */
  async begin(): Promise<void> {
    for (const id of [...this.#leaving.keys()]) void this.#askToLeave(id)
    const asked = [...this.#all.values()].map((one) => this.#askAnew(one))
    await Promise.all(asked)
  }

  /** The session is over, and with it what was to be asked in it. */
  end(): void {
    for (const one of this.#all.values()) this.#stop(one)
    for (const [id, timer] of this.#leaving) {
      if (timer !== undefined) this.#clock.stopTimer(timer)
      this.#leaving.set(id, undefined)
    }
  }

  close(): void {
    this.end()
    for (const finish of [...this.#seen.values()]) finish('unknown')
  }

  seen(id: string): void {
    this.#seen.get(id)?.('seen')
  }

  unlisted(id: string, why: string): void {
    const one = this.#all.get(id)
    if (one === undefined) return
    one.listed = false
    one.returns = why !== 'replaced'
    this.#host.unlisted(one.instance, why)
  }

  /** Another session has it, which is not the last one that we opened: it is asked for again. */
  moved(id: string): void {
    const one = this.#all.get(id)
    if (one === undefined || one.timer !== undefined) return
    this.#later(one, FIRST_RETRY_MS, () => this.#ask(one).catch(() => undefined))
  }

  /** A heartbeat was sent. */
  beat(): void {
    for (const one of this.#all.values()) {
      if (!one.returns) continue
      one.returns = false
      one.listed = true
    }
  }

  #askAnew(one: Registration): Promise<void> {
    // A process that was refused stays so for this session; the next one tries again.
    const asked = this.#ask(one).catch((error: MeshError) => {
      if (isPassing(error)) return new Promise<void>(() => {})
      if (error.code !== 'registry-refused') return undefined
      one.listed = false
      this.#host.unlisted(one.instance, 'refused')
      return undefined
    })
    if (this.#seen.has(one.instance.id)) this.#askDrain(one)
    return asked
  }

  async #ask(one: Registration): Promise<void> {
    this.#stop(one)
    try {
      const { isNew } = await this.#host.ask((ref) => ({ type: 'register', ref, instance: one.instance }))
      one.failures = 0
      const wasListed = one.listed
      one.listed = true
      if (isNew && wasListed && this.#all.get(one.instance.id) === one) this.#host.unlisted(one.instance, 'lost')
    } catch (error) {
      this.#retry(one, error, () => this.#ask(one).catch(() => undefined))
      throw error
    }
  }

  /** A drain that the registry does not answer waits for its bound; the next session asks again. */
  #askDrain(one: Registration): void {
    if (!this.#host.connected) return
    this.#stop(one)
    const { id } = one.instance
    this.#host
      .ask((ref) => ({ type: 'drain', ref, id }))
      .catch((error: unknown) => this.#retry(one, error, () => this.#askDrain(one)))
  }

  /** Until a registry has said that it is gone, in this session or the next. Never rejects. */
  async #askToLeave(id: string): Promise<void> {
    this.#left(id)
    this.#leaving.set(id, undefined)
    try {
      await this.#host.ask((ref) => ({ type: 'deregister', ref, id }))
    } catch (error) {
      if (!isPassing(error)) this.#left(id)
      else if (this.#host.connected && this.#leaving.has(id)) {
        const again = (): void => void this.#askToLeave(id)
        this.#leaving.set(id, this.#clock.startBackgroundTimer(FIRST_RETRY_MS * 2, again, undefined))
      }
      return
    }
    this.#left(id)
  }

  #left(id: string): void {
    const timer = this.#leaving.get(id)
    if (timer !== undefined) this.#clock.stopTimer(timer)
    this.#leaving.delete(id)
  }

  /** What the registry refused it would refuse again; without a session, the next one asks. */
  #retry(one: Registration, error: unknown, again: () => void): void {
    const { id } = one.instance
    if (!isPassing(error) || !this.#host.connected || this.#all.get(id) !== one || one.timer !== undefined) return
    const fullMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(one.failures, 8))
    one.failures += 1
    this.#later(one, fullMs, again)
  }

  #later(one: Registration, fullMs: number, again: () => void): void {
    const retry = (): void => {
      one.timer = undefined
      again()
    }
    one.timer = this.#clock.startBackgroundTimer(fullMs * (0.5 + 0.5 * this.#clock.random()), retry, undefined)
  }

  #stop(one: Registration): void {
    if (one.timer !== undefined) this.#clock.stopTimer(one.timer)
    one.timer = undefined
  }

  #forget(id: string): void {
    const one = this.#all.get(id)
    if (one !== undefined) this.#stop(one)
    this.#all.delete(id)
  }
}

/** The registry is away or in trouble. */
function isPassing(error: unknown): boolean {
  return error instanceof MeshError && error.code === 'registry-unavailable'
}
