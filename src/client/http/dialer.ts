/**
 * Opens the connections of one endpoint: what it offers, and how many handshakes run at once. What
 * the last peer chose tells how many connections its calls need.
 */
import type { Endpoint } from '../../core/endpoint.ts'
import { HTTP1, MUX, type TransportName } from '../../core/transport.ts'
import { Dial, type DialFailure, type DialOwner } from '../dial.ts'
import type { TransportPreferences } from '../transport-preferences.ts'
import type { ConnectionSetup } from './connection.ts'
import { type Offers, offersTo } from './offers.ts'
import { SharedConnections } from './shared-connections.ts'

export interface DialerSetup extends ConnectionSetup {
  readonly preferences: TransportPreferences
}

/**
 * Concurrent handshakes with one endpoint. A full mTLS handshake costs each side 2 ms of CPU, so
 * the calls that wait for a busy endpoint must not add one each.
 */
const MOST_DIALING = 4
/** A peer that announced `inmesh/1` and did not speak it is asked again after this time. */
const REFUSAL_MS = 60_000

export class Dialer {
  readonly dials = new Set<Dial>()
  readonly #endpoint: Endpoint
  readonly #setup: DialerSetup
  readonly #owner: DialOwner
  #offers: Offers
  /** What the last connection speaks; `undefined`: not known. */
  #spoken: TransportName | undefined = undefined
  #refusedUntil = 0

  constructor(owner: DialOwner, setup: DialerSetup) {
    this.#owner = owner
    this.#endpoint = owner.endpoint
    this.#setup = setup
    this.#offers = this.#currentOffers()
  }

  /** What is wanted: a connection that speaks something else is a makeshift. */
  get wanted(): TransportName {
    return this.#offers[0]!
  }

  /** Whether the next connection will carry many calls, as far as is known. */
  get sharing(): boolean {
    return (this.#spoken ?? this.wanted) !== HTTP1
  }

  /** Connections of an endpoint, at most. */
  get most(): number {
    const { maxConnections } = this.#setup.settings
    return this.sharing ? Math.min(SharedConnections.MOST, maxConnections) : maxConnections
  }

  /**
   * Opens connections for `waiting` users, with `open` there already: one at a time if it may serve
   * all of them, or else one for each.
   */
  dial(waiting: number, open: number): void {
    const atOnce = this.sharing ? 1 : MOST_DIALING
    while (this.dials.size < Math.min(waiting, atOnce) && open + this.dials.size < this.most) this.open()
  }

  open(): void {
    this.dials.add(new Dial(this.#owner, this.#setup, this.#offers))
  }

  established(dial: Dial, transport: TransportName): void {
    this.dials.delete(dial)
    this.#spoken = transport
  }

  /** Whether nothing is lost: the next dial makes another offer. */
  failed(dial: Dial, { wrongTransport }: DialFailure): boolean {
    this.dials.delete(dial)
    if (wrongTransport !== true || !dial.offers.includes(MUX)) return false
    this.#refusedUntil = this.#setup.clock.now() + REFUSAL_MS
    this.#offers = this.#currentOffers()
    return true
  }

  /** Whether something else is wanted than before. */
  follow(): boolean {
    const offers = this.#currentOffers()
    if (offers === this.#offers) return false
    this.#offers = offers
    this.#spoken = undefined
    return true
  }

  #currentOffers(): Offers {
    const refused = this.#refusedUntil > 0 && this.#setup.clock.now() < this.#refusedUntil
    return offersTo(this.#endpoint, this.#setup.preferences.of(this.#endpoint.service), refused)
  }
}
