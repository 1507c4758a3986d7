/**
 * Takes the steps of rotations as they become due, in the one registry that is elected for it, and
 * replaces intermediates in time. Every step is one transaction, so a leader that dies leaves a
 * whole stage to the next.
 */
import { certificateTimeOf } from '../../core/certificate-time.ts'
import type { Clock, Timer } from '../../core/clock.ts'
import { reasonOf } from '../../core/errors.ts'
import type { Audit } from '../access/audit.ts'
import type { Logger } from '../log.ts'
import type { RegistryState } from '../state.ts'
import type { Leadership } from '../storage/storage.ts'
import type { RegistryAuthority } from './authority.ts'
import { authorityOf, isRoot, makeIntermediate, rootIdOf } from './authority-records.ts'
import { RotationCommands } from './rotation-commands.ts'
import { RotationFacts } from './rotation-facts.ts'
import {
  type Actor,
  advanceTrack,
  publishAuthority,
  replaceEndedAuthority,
  type Step,
  type Track,
} from './rotation-steps.ts'
import { StageWait } from './stage-wait.ts'
import type { Succession } from './succession.ts'

const ELECTION = 'authority'
const LOOK_MS = 250
/** Of an intermediate's life; the next one is in use long before the end (SPIRE: 1/2, 5/6). */
const REPLACED_AT = 0.5
/** Due for so long by the monotonic clock: no leap of the wall clock begins a rotation. */
const DUE_FOR_MS = 600_000
/** How long a stage has lasted is noted this often, and at least so far apart. */
const NOTES = 20
const LEAST_NOTE_MS = 1_000

interface Watched {
  readonly succession: Succession
  readonly wait: StageWait
  notedMs: number
}

export interface RotatorOptions {
  readonly state: RegistryState
  readonly authority: RegistryAuthority
  readonly audit: Audit
  readonly clock: Clock
  readonly log: Logger
  readonly leaseMs: number
}

export class Rotator {
  readonly #options: RotatorOptions
  readonly #facts: RotationFacts
  readonly #actor: Actor
  readonly #commands: RotationCommands
  readonly #watched = new Map<Track, Watched>()
  #leadership: Leadership | undefined
  #timer: Timer | undefined
  #closed = false
  #looking = false
  #dueSince: number | undefined

  constructor(options: RotatorOptions) {
    this.#options = options
    const { state, authority, clock, leaseMs, audit } = options
    this.#facts = new RotationFacts(state, authority, clock, leaseMs)
    this.#commands = new RotationCommands(authority.store, state, this.#facts, audit, clock)
    this.#actor = { who: 'registry', source: 'local', operations: (entry) => audit.operations(entry) }
    this.#next()
    this.#lead().catch((error) => this.#failed(error))
  }

  /** Of steps that no operator asked for. */
  get actor(): Actor {
    return this.#actor
  }

  /** What operators ask for. */
  get commands(): RotationCommands {
    return this.#commands
  }

  get facts(): RotationFacts {
    return this.#facts
  }

  /** How long the stage of `track` has lasted. */
  waitedMs(track: Track): number {
    return this.#watch(track).wait.waitedMs
  }

  close(): void {
    this.#closed = true
    this.#facts.close()
    if (this.#timer !== undefined) this.#options.clock.stopTimer(this.#timer)
    this.#leadership?.resign().catch((error) => this.#failed(error))
  }

  async #lead(): Promise<void> {
    while (!this.#closed) {
      const leadership = await this.#options.state.store.campaign(ELECTION)
      this.#leadership = leadership
      if (this.#closed) await leadership.resign()
      await leadership.lost
      this.#leadership = undefined
    }
  }

  #next(): void {
    if (this.#closed) return
    this.#timer = this.#options.clock.startBackgroundTimer(
      LOOK_MS,
      () => {
        this.#next()
        if (this.#leadership === undefined || this.#looking) return
        this.#looking = true
        this.#look()
          .catch((error) => this.#failed(error))
          .finally(() => {
            this.#looking = false
          })
      },
      undefined,
    )
  }

  async #look(): Promise<void> {
    const { store } = this.#options.authority
    await this.#replaceInTime()
    for (const track of ['certificates', 'tokens'] as const) {
      const watched = this.#watch(track)
      const { waitedMs } = watched.wait
      const factsOf = (succession: Succession) =>
        this.#facts.of(track, succession, succession === watched.succession ? waitedMs : 0)
      if (await store.change(advanceTrack(track, store.trust, factsOf, this.#actor))) continue
      await this.#note(track, watched)
    }
  }

  /** Counts anew when the stage is another one. */
  #watch(track: Track): Watched {
    const succession = this.#options.authority.store.rotation[track]
    let watched = this.#watched.get(track)
    if (watched?.succession !== succession) {
      const isSame = watched !== undefined && stageOf(watched.succession) === stageOf(succession)
      // Our own notes replace the record and not what is counted.
      watched = isSame
        ? { succession, wait: watched!.wait, notedMs: succession.waitedMs }
        : { succession, wait: new StageWait(this.#options.clock, succession), notedMs: succession.waitedMs }
      this.#watched.set(track, watched)
    }
    return watched
  }

  async #note(track: Track, { succession, wait, notedMs }: Watched): Promise<void> {
    if (succession.stage === 'steady') return
    const { note } = wait
    const everyMs = Math.max(LEAST_NOTE_MS, (succession.formerLifeMs ?? succession.lifeMs) / NOTES)
    if (note.since === succession.since && note.waitedMs - notedMs < everyMs) return
    const { store } = this.#options.authority
    await store.change((rotation) =>
      rotation[track] === succession
        ? { rotation: { [track]: { ...succession, ...note } }, isBundle: false }
        : undefined,
    )
    if (note.since !== succession.since) this.#watched.delete(track)
  }

  /** An intermediate whose root's key is here is replaced by itself. */
  async #replaceInTime(): Promise<void> {
    const { authority, clock, log } = this.#options
    const { store } = authority
    const { trust, rotation } = store
    const { active, stage } = rotation.certificates
    const record = trust.authorities.get(active)
    if (stage !== 'steady' || record?.privateKey === undefined || isRoot(record)) {
      this.#dueSince = undefined
      return
    }
    const { notBefore, notAfter } = authorityOf(record)
    const from = record.createdAt ?? notBefore
    const now = certificateTimeOf(clock).now()
    const hasEnded = now >= notAfter
    if (!hasEnded && now < from + (notAfter - from) * REPLACED_AT) {
      this.#dueSince = undefined
      return
    }
    this.#dueSince ??= clock.now()
    if (!hasEnded && clock.now() - this.#dueSince < DUE_FOR_MS) return
    this.#dueSince = undefined
    const rootId = rootIdOf(active, record)
    const root = trust.authorities.get(rootId)
    if (root?.privateKey === undefined || authorityOf(root).notAfter <= now) {
      log.warn({ authority: active, notAfter }, 'the intermediate ends, and no root key is here to make another')
      return
    }
    const made = { id: rootId, record: root }
    const next = makeIntermediate(made, clock.wallNow())
    const step: Step = hasEnded
      ? replaceEndedAuthority(active, next, this.#actor)
      : publishAuthority(trust, next, made, this.#actor)
    await store.change(step)
  }

  #failed(error: unknown): void {
    const reason = reasonOf(error)
    if (!this.#closed) this.#options.log.error({ reason }, 'rotation not continued')
  }
}

function stageOf({ stage, active, next, since }: Succession): string {
  return `${stage} ${active} ${next} ${since}`
}
