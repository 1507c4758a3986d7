/**
 * Registers and deregisters instances all the time, over one session that moves to another registry
 * when it breaks, and keeps a ledger of what was acknowledged.
 */
import type { Instance } from '../../../src/discovery/instance.ts'
import type { Registry } from '../../../src/registry/index.ts'
import { instance } from '../../rigs/instance.ts'
import { type Credentials, TestSession } from '../../rigs/registry-session.ts'
import { eventually } from '../rig.ts'

const PAUSE_MS = 150
/** Instances that live at the same time. */
const CROWD = 8

/** Enough of a registry to open a session. */
export type Door = Pick<Registry, 'url' | 'roots' | 'dev' | 'adminToken'>

export class Churn {
  readonly #doors: readonly Door[]
  readonly #credentials: Credentials
  readonly #service: string
  /** Acknowledged and not taken back. */
  readonly #live = new Set<string>()
  /** Acknowledged as deregistered. */
  readonly #left = new Set<string>()
  #session: TestSession | undefined
  #door = 0
  #heard = 0
  readonly #loop: Promise<void>
  /** The change in flight. */
  #changing: Promise<void> | undefined
  acknowledged = 0
  sessions = 0
  #paused = false
  #closed = false
  /** Changes that began before count no more. */
  #since = 0

  constructor(doors: readonly Door[], service: string, credentials: Credentials) {
    this.#doors = doors
    this.#service = service
    this.#credentials = credentials
    this.#loop = this.#run()
  }

  async changes(more = 4): Promise<void> {
    const from = this.acknowledged
    await eventually(`${more} changes of instances are acknowledged`, () => this.acknowledged >= from + more, 60_000)
  }

  /** Changes nothing more. Keeps a session, so that what it registered stays. */
  async pause(): Promise<void> {
    this.#paused = true
    await this.#changing?.catch(() => {})
  }

  resume(): void {
    this.#paused = false
  }

  /** What left may be listed again, also if that is acknowledged only now. */
  forget(): void {
    this.#left.clear()
    this.#since = performance.now()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#session?.close()
    await this.#loop
    this.#session?.close()
  }

  /** Ids that a list must have and lacks, or has and must not have. */
  wrongIn(listed: readonly string[]): string[] {
    const ids = new Set(listed)
    return [
      ...[...this.#live].filter((id) => !ids.has(id)).map((id) => `${id} is not listed`),
      ...[...this.#left].filter((id) => ids.has(id)).map((id) => `${id} left and is listed`),
    ]
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#closed; i++) {
      try {
        const session = await this.#open()
        if (!this.#paused) {
          this.#changing = this.#change(session, i)
          await this.#changing
        }
      } catch {
        this.#session?.close()
        this.#session = undefined
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }

  async #change(session: TestSession, i: number): Promise<void> {
    if (this.#live.size < CROWD) await this.#register(session, i)
    else await this.#deregister(session, [...this.#live][0]!)
    this.acknowledged += 1
  }

  /** The session, or at the next registry another one that has registered all that live. */
  async #open(): Promise<TestSession> {
    const known = this.#session
    const told = known?.received.slice(this.#heard).some(({ type }) => type === 'goaway') === true
    if (known !== undefined && !known.closed && !told) return known
    const door = this.#doors[this.#door++ % this.#doors.length]!
    const session = await TestSession.open(door as Registry, this.#service, this.#credentials)
    try {
      for (const id of this.#live) await this.#ask(session, { type: 'register', instance: this.#instance(id) })
    } catch (error) {
      session.close()
      throw error
    }
    this.sessions += 1
    this.#heard = session.received.length
    this.#session = session
    known?.close()
    return session
  }

  async #register(session: TestSession, i: number): Promise<void> {
    await this.#ask(session, { type: 'register', instance: this.#instance(`i-${i}`) })
    this.#live.add(`i-${i}`)
  }

  async #deregister(session: TestSession, id: string): Promise<void> {
    const begun = performance.now()
    // From here on it may be listed or not.
    this.#live.delete(id)
    await this.#ask(session, { type: 'deregister', id })
    if (begun >= this.#since) this.#left.add(id)
  }

  #instance(id: string): Instance {
    return instance(this.#service, id, { port: 10_000 + Number(id.slice(2)) })
  }

  async #ask(session: TestSession, message: Parameters<TestSession['ask']>[0]): Promise<void> {
    const answer = await session.ask(message)
    if (answer?.type !== 'done') throw new Error(JSON.stringify(answer ?? 'the session has ended'))
  }
}
