/**
 * Free streams of one connection under the peer's SETTINGS_MAX_CONCURRENT_STREAMS. A stream that we
 * reset counts until the peer has processed the reset.
 */
import { type ClientHttp2Session, connect, type Settings } from 'node:http2'
import { Duplex } from 'node:stream'

export class StreamLimit {
  readonly #onRoom: () => void
  #session: ClientHttp2Session | undefined
  /**
   * The peer may change it. Without a session that we can read, Node enforces it.
   */
  #most = Number.POSITIVE_INFINITY
  #open = 0
  /**
   * Streams that we have reset and the peer may still count. A Node server refuses further streams
   * meanwhile, and ends the connection after a hundred.
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

  /** `reset`: by us; the peer may not know yet. */
  ended(reset: boolean): void {
    this.#open -= 1
    if (reset) this.#reset += 1
  }

  /**
   * A call waits for room. A PING behind the resets shows when the peer has processed them.
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
      // The session has ended; its connection hears of it.
    }
    if (!sent) setImmediate(heard)
  }

  #limit({ maxConcurrentStreams }: Settings): void {
    this.#most = maxConcurrentStreams ?? Number.POSITIVE_INFINITY
  }
}

/** `undefined` until first needed, `null` if this version of Node has none. */
let hook: ((name: string) => void) | null | undefined

/**
 * Restores Node's `newListener` hook, without which a session does not report SETTINGS. grpc-js
 * removes it with all other listeners, so it is taken from a session without a socket.
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
