/**
 * How many more streams one connection takes, by the peer's SETTINGS_MAX_CONCURRENT_STREAMS. A
 * stream that we reset is free for us at once, and for the peer only when it has heard of it.
 */
import { type ClientHttp2Session, connect, type Settings } from 'node:http2'
import { Duplex } from 'node:stream'

export class StreamLimit {
  readonly #onRoom: () => void
  #session: ClientHttp2Session | undefined
  /**
   * The peer may change it. Without a session that we can read, it is Node that holds streams back.
   */
  #most = Number.POSITIVE_INFINITY
  #open = 0
  /**
   * Streams that we have reset, and that the peer may still count. A server on Node refuses the
   * next one meanwhile, and ends the connection after a hundred of them.
   */
  #reset = 0
  #asking = false

  /** `onRoom`: there may be room for one more. */
  constructor(onRoom: () => void) {
    this.#onRoom = onRoom
  }

  get hasRoom(): boolean {
    return this.#open + this.#reset < this.#most
  }

  watch(session: ClientHttp2Session): void {
    this.#session = session
    this.#limit(session.remoteSettings)
    hearAgain(session)
    session.on('remoteSettings', (settings) => {
      this.#limit(settings)
      this.#onRoom()
    })
  }

  begun(): void {
    this.#open += 1
  }

  /** `reset`: by us, so that the peer does not know yet. */
  ended(reset: boolean): void {
    this.#open -= 1
    if (reset) this.#reset += 1
  }

  /**
   * A call waits for room: asks whether the peer has heard of all resets, by a PING behind them.
   */
  want(): void {
    if (this.#reset === 0 || this.#asking || this.#session === undefined) return
    this.#asking = true
    const asked = this.#reset
    const heard = (): void => {
      this.#asking = false
      this.#reset -= asked
      this.#onRoom()
    }
    let sent = false
    try {
      sent = this.#session.ping(heard)
    } catch {
      // The session has ended, and its pool will hear of that.
    }
    if (!sent) setImmediate(heard)
  }

  #limit({ maxConcurrentStreams }: Settings): void {
    this.#most = maxConcurrentStreams ?? Number.POSITIVE_INFINITY
  }
}

/** `undefined` until it was asked for, `null` if this Node has none. */
let hook: ((name: string) => void) | null | undefined

/**
 * Node passes SETTINGS on only while its own hook has seen a listener come. grpc-js removes all
 * listeners of a session when it stands, and the hook with them; a session without a socket has
 * one.
 */
function hearAgain(session: ClientHttp2Session): void {
  if (hook === undefined) {
    const nowhere = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    const other = connect('http://localhost', { createConnection: () => nowhere })
    nowhere.on('error', ignore)
    other.on('error', ignore)
    hook = (other.listeners('newListener')[0] as typeof hook) ?? null
    other.destroy()
  }
  if (hook !== null && session.listenerCount('newListener') === 0) session.on('newListener', hook)
}

function ignore(): void {}
