/**
 * A registry that cannot write to its store while another one can sends its sessions there. If none
 * can, it keeps them: they go on with what it knows.
 *
 * - writable → cut off: the store has not been writable for {@link CUT_OFF_MS}
 * - cut off → away: another registry is ready; sessions are sent away and refused
 * - cut off | away → writable
 */
import type { Clock, Timer } from '../../core/clock.ts'
import type { Logger } from '../log.ts'
import type { RegistryRecord } from './fleet-records.ts'

/** A store that elects another leader is away for less. */
const CUT_OFF_MS = 2_500
const AGAIN_MS = 1_000

interface CutOffHost {
  readonly clock: Clock
  readonly log: Logger
  peers(): readonly RegistryRecord[]
  isReady(peer: RegistryRecord): Promise<boolean>
  sendAway(): void
}

export class CutOff {
  readonly #host: CutOffHost
  #timer: Timer | undefined
  #away = false
  #writable = true

  constructor(host: CutOffHost) {
    this.#host = host
  }

  /** Sessions belong elsewhere. */
  get isAway(): boolean {
    return this.#away
  }

  setWritable(writable: boolean): void {
    if (writable === this.#writable) return
    this.#writable = writable
    this.#stop()
    this.#away = false
    if (!writable) this.#lookIn(CUT_OFF_MS)
  }

  close(): void {
    this.#writable = true
    this.#stop()
  }

  #stop(): void {
    if (this.#timer !== undefined) this.#host.clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  #lookIn(ms: number): void {
    this.#timer = this.#host.clock.startBackgroundTimer(ms, () => void this.#look(), undefined)
  }

  async #look(): Promise<void> {
    const { log } = this.#host
    this.#timer = undefined
    const peer = await this.#readyPeer()
    if (this.#writable || this.#timer !== undefined) return
    if (peer === undefined) {
      this.#lookIn(AGAIN_MS)
      return
    }
    this.#away = true
    log.warn({ peer: peer.url }, 'cut off from the store; sessions are sent to other registries')
    this.#host.sendAway()
  }

  async #readyPeer(): Promise<RegistryRecord | undefined> {
    const peers = this.#host.peers()
    const ready = await Promise.all(peers.map((peer) => this.#host.isReady(peer)))
    return peers.find((_, i) => ready[i])
  }
}
