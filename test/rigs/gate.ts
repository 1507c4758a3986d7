/**
 * A TCP proxy on loopback that a test closes and opens again. Closed, it drops what arrives without
 * a word, as a lost network path does; what was sent meanwhile arrives when it opens.
 */
import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net'

/** `severed`: it resets connections, those that stand and those that come. */
export type GateState = 'open' | 'silent' | 'severed'

export class Gate {
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  readonly #target: { readonly host: string; readonly port: number }
  #state: GateState = 'open'

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (near) => this.#accept(near))
  }

  static async open(target: { readonly host: string; readonly port: number }): Promise<Gate> {
    const gate = new Gate(target)
    gate.#server.listen(0, '127.0.0.1')
    await once(gate.#server, 'listening')
    return gate
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get state(): GateState {
    return this.#state
  }

  /** How many connections lead through it. */
  get connections(): number {
    return this.#pairs.size
  }

  set(state: GateState): void {
    this.#state = state
    for (const pair of this.#pairs) {
      const [near, far] = pair
      if (state === 'severed') this.#part(pair, (end) => end.resetAndDestroy())
      else if (state === 'silent') pause(near, far)
      else if (near.destroyed || far.destroyed) this.#part(pair, (end) => end.destroy())
      else join(near, far)
    }
  }

  async close(): Promise<void> {
    for (const pair of this.#pairs) this.#part(pair, (end) => end.destroy())
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  #accept(near: Socket): void {
    near.on('error', () => near.destroy())
    if (this.#state === 'severed') {
      near.resetAndDestroy()
      return
    }
    const far = createConnection({ ...this.#target, allowHalfOpen: true })
    const pair = [near, far] as const
    this.#pairs.add(pair)
    for (const end of pair) {
      end.on('error', () => end.destroy())
      // An end that goes while the gate is silent goes unseen until it opens.
      end.once('close', () => {
        if (this.#state !== 'silent') this.#part(pair, (other) => other.destroy())
      })
    }
    if (this.#state === 'open') join(near, far)
  }

  #part(pair: readonly [Socket, Socket], end: (socket: Socket) => void): void {
    this.#pairs.delete(pair)
    for (const socket of pair) end(socket)
  }
}

function join(near: Socket, far: Socket): void {
  near.pipe(far)
  far.pipe(near)
}

function pause(near: Socket, far: Socket): void {
  near.unpipe(far)
  far.unpipe(near)
  near.pause()
  far.pause()
}
