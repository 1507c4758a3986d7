/**
 * Connects to endpoints that another history of the registry lacks. Where a connection is refused,
 * nothing listens, so that endpoint is dead; any other end proves nothing.
 */
import { connect, type LookupFunction, type Socket } from 'node:net'
import type { Clock, Timer } from '../core/clock.ts'
import { outsideCalls } from '../core/context.ts'
import type { Endpoint } from '../core/endpoint.ts'
import { checkedLookup, refuseEndpoint } from './checked-lookup.ts'
import { ConnectTimer } from './connect-timer.ts'

/** How long a connection may take. */
const CONNECT_MS = 1_000
/** Connections at once, of the whole process. */
export const MOST_AT_ONCE = 32
/** Deaths within it are one notice, because each notice makes a new picker. */
const TOGETHER_MS = 20

export type DeathListener = (dead: readonly Endpoint[]) => void

interface Doubt {
  readonly endpoint: Endpoint
  readonly died: DeathListener
}

export class DoubtedEndpoints {
  readonly #clock: Clock
  readonly #loopbackAllowed: boolean
  readonly #lookup: LookupFunction
  readonly #waiting = new Set<Doubt>()
  readonly #connecting = new Map<Socket, ConnectTimer>()
  readonly #dead = new Map<DeathListener, Endpoint[]>()
  #notice: Timer | undefined
  #closed = false

  constructor(clock: Clock, loopbackAllowed: boolean) {
    this.#clock = clock
    this.#loopbackAllowed = loopbackAllowed
    this.#lookup = checkedLookup(loopbackAllowed)
  }

  /** Connections that are being established. */
  get connecting(): number {
    return this.#connecting.size
  }

  /** Calls `died` for those that are dead, unless it is closed first. */
  add(endpoints: readonly Endpoint[], died: DeathListener): void {
    if (this.#closed) return
    for (const endpoint of endpoints) this.#waiting.add({ endpoint, died })
    // It may be a call that began to watch the service.
    outsideCalls(() => this.#next())
  }

  /** Stops all connections and timers. */
  close(): void {
    this.#closed = true
    this.#waiting.clear()
    this.#dead.clear()
    for (const socket of [...this.#connecting.keys()]) this.#end(socket)
    if (this.#notice !== undefined) this.#clock.stopTimer(this.#notice)
  }

  #next(): void {
    for (const doubt of this.#waiting) {
      if (this.#connecting.size >= MOST_AT_ONCE) return
      this.#waiting.delete(doubt)
      const { endpoint } = doubt
      // Our own rules keep us from some addresses; that does not make them dead.
      const isRefused = refuseEndpoint(endpoint.address, endpoint.address, this.#loopbackAllowed) !== undefined
      if (!endpoint.withdrawn && !isRefused) this.#connect(doubt)
    }
  }

  #connect({ endpoint, died }: Doubt): void {
    const { address: host, port } = endpoint
    const socket = connect({ host, port, lookup: this.#lookup })
    const ended = (isDead: boolean): void => {
      if (!this.#end(socket)) return
      if (isDead) this.#bury(endpoint, died)
      this.#next()
    }
    socket.once('connect', () => ended(isItself(socket)))
    // Also after its end, when it changes nothing.
    socket.on('error', (error) => ended(isRefusal(error)))
    const timer = new ConnectTimer(this.#clock, CONNECT_MS, endpoint.label, { tooSlow: () => ended(false) })
    this.#connecting.set(socket, timer)
    timer.start()
  }

  #end(socket: Socket): boolean {
    const timer = this.#connecting.get(socket)
    if (timer === undefined) return false
    this.#connecting.delete(socket)
    timer.stop()
    socket.destroy()
    return true
  }

  #bury(endpoint: Endpoint, died: DeathListener): void {
    const together = this.#dead.get(died)
    if (together === undefined) this.#dead.set(died, [endpoint])
    else together.push(endpoint)
    this.#notice ??= this.#clock.startBackgroundTimer(TOGETHER_MS, () => this.#tell(), undefined)
  }

  #tell(): void {
    this.#notice = undefined
    const dead = [...this.#dead]
    this.#dead.clear()
    for (const [died, endpoints] of dead) died(endpoints)
  }
}

/** On loopback the system may take the port where nothing listens for our own end. */
function isItself({ localPort, remotePort, localAddress, remoteAddress }: Socket): boolean {
  return localPort === remotePort && localAddress === remoteAddress
}

/** At every address of its name. */
function isRefusal(error: Error): boolean {
  if (error instanceof AggregateError) return error.errors.length > 0 && error.errors.every(isRefusal)
  return (error as NodeJS.ErrnoException).code === 'ECONNREFUSED'
}
