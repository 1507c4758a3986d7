/**
 * The connections of a registry. A stranger must begin a request within seconds and end it, so
 * members always find a place.
 */
import type { Socket } from 'node:net'
import type { Clock, Timer } from '../core/clock.ts'
import { sourceGroup } from './address-policy.ts'

/** All connections; the system refuses more. */
export const MOST_CONNECTIONS = 20_000
/** Half of them are for those who have shown a certificate or the admin token. */
const MOST_STRANGERS = 10_000
/** Processes behind one NAT that join at the same time are many; a flood is more. */
const MOST_STRANGERS_PER_SOURCE = 1_000
/**
 * From TCP's handshake to the end of TLS's. Processes that start together on a busy machine shake
 * hands late; they wait as long.
 */
const HANDSHAKE_MS = 10_000
/**
 * Without a request in progress, since the handshake or the last request. PINGs and parts of a head
 * do not count.
 */
const SILENT_MS = 5_000
/**
 * One request of a stranger, from its head to the last byte of its answer. A body alone may take 10
 * s.
 */
const LONGEST_REQUEST_MS = 20_000
const SWEEP_MS = 1_000

/** One accepted socket, from TCP's handshake to its close. */
export class AcceptedConnection {
  readonly group: string
  /** It has shown who it is, or that it may do everything. */
  member = false
  /** TLS is done. */
  secured = false
  /** Requests in progress. */
  inProgress = 0
  /** When it was accepted or secured, or its last request began or ended. */
  at: number
  readonly socket: Socket
  readonly #clock: Clock

  constructor(socket: Socket, group: string, clock: Clock) {
    this.socket = socket
    this.group = group
    this.#clock = clock
    this.at = clock.now()
  }

  secure(): void {
    this.secured = true
    this.at = this.#clock.now()
  }

  /** A request has come whole up to its body. Call the result when its answer has ended. */
  begin(): () => void {
    this.inProgress += 1
    this.at = this.#clock.now()
    let ended = false
    return () => {
      if (ended) return
      ended = true
      this.inProgress -= 1
      this.at = this.#clock.now()
    }
  }
}

export class RegistryConnections {
  readonly #clock: Clock
  /** By the other side's address and port: TLS hands on another socket than the one accepted. */
  readonly #all = new Map<string, AcceptedConnection>()
  readonly #strangers = new Map<string, number>()
  #strangerCount = 0
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Destroys the socket and returns `undefined` if there are too many strangers. */
  accept(socket: Socket): AcceptedConnection | undefined {
    // From here to its close: nothing else listens until the handshake is done.
    socket.on('error', ignore)
    const group = sourceGroup(socket.remoteAddress ?? 'unknown')
    const ofGroup = this.#strangers.get(group) ?? 0
    if (this.#strangerCount >= MOST_STRANGERS || ofGroup >= MOST_STRANGERS_PER_SOURCE) {
      socket.destroy()
      return undefined
    }
    const connection = new AcceptedConnection(socket, group, this.#clock)
    const key = keyOf(socket)
    this.#all.set(key, connection)
    this.#strangers.set(group, ofGroup + 1)
    this.#strangerCount += 1
    socket.once('close', () => {
      this.#all.delete(key)
      if (!connection.member) this.#known(connection)
    })
    this.#timer ??= this.#clock.startBackgroundTimer(SWEEP_MS, sweep, this)
    return connection
  }

  /** The connection that `socket`, or the TLS socket over it, belongs to. */
  of(socket: Socket): AcceptedConnection | undefined {
    return this.#all.get(keyOf(socket))
  }

  /** It is no stranger any more. */
  admit(connection: AcceptedConnection): void {
    if (connection.member || connection.socket.destroyed) return
    connection.member = true
    this.#known(connection)
  }

  destroy(): void {
    for (const { socket } of this.#all.values()) socket.destroy()
  }

  close(): void {
    if (this.#timer !== undefined) this.#clock.stopTimer(this.#timer)
    this.#timer = undefined
  }

  /** @internal */
  sweep(): void {
    this.#timer = undefined
    const now = this.#clock.now()
    for (const { member, secured, inProgress, at, socket } of this.#all.values()) {
      const mostMs = !secured ? HANDSHAKE_MS : inProgress > 0 ? LONGEST_REQUEST_MS : SILENT_MS
      if (member || now - at <= mostMs) continue
      // While hundreds shake hands at once, it is we who are late: to cut them would bring them all
      // back.
      if (now - at - this.#clock.stalledMsSince(at) > mostMs) socket.destroy()
    }
    if (this.#all.size > 0) this.#timer = this.#clock.startBackgroundTimer(SWEEP_MS, sweep, this)
  }

  #known({ group }: AcceptedConnection): void {
    this.#strangerCount -= 1
    const left = this.#strangers.get(group)! - 1
    if (left === 0) this.#strangers.delete(group)
    else this.#strangers.set(group, left)
  }
}

function sweep(connections: RegistryConnections): void {
  connections.sweep()
}

function keyOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function ignore(): void {}
