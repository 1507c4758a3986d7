/**
 * The socket of a server: one port that takes TLS, plaintext or both, and a Unix socket beside it.
 * The first bytes of a connection tell what it speaks.
 */
import type { Cluster } from 'node:cluster'
import { type AddressInfo, createServer as createNetServer, type Server as NetServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls'
import type { Clock } from '../core/clock.ts'
import type { LocalAddress } from '../core/endpoint.ts'
import { MeshError } from '../core/errors.ts'
import type { Identity } from '../identity/identity.ts'
import { HANDSHAKE_TIMEOUT_MS, serverTlsOptions } from '../identity/tls-options.ts'
import type { LocalDirectory } from '../net/local-directory.ts'
import { detectPreface, type Prefaced, TLS_PREFACE } from './detect-preface.ts'
import type { ListeningServer } from './listening-server.ts'
import { LocalListener } from './local-listener.ts'

export interface PortSettings {
  readonly host: string
  readonly port: number
  readonly headersTimeout: number
  readonly maxConnections: number | undefined
}

export interface PortOwner {
  readonly clock: Clock
  /** Whose connections it takes over. */
  readonly taken: ListeningServer | undefined
  /** Whether only TLS comes in. */
  readonly strict: boolean
  /** A new connection, also before its handshake. */
  connected(socket: Socket): void
  /** There are more than `maxConnections`: the system closes one. */
  dropped(): void
  secured(socket: TLSSocket): void
  handshakeFailed(error: Error, socket: TLSSocket): void
  /** Asked for each handshake, because the offer may change. */
  speaks(protocol: string): boolean
  /** What plaintext connections may begin with now. */
  prefaced(): readonly Prefaced[]
  /** A plaintext connection that begins with something else. */
  unprefaced(socket: Socket): void
  /** The answer to a plaintext client that sends nothing in time. */
  readonly silence: string | undefined
}

/** TCP keepalive probes a silent peer after 15 s; the system's default is two hours. */
export const SOCKET_OPTIONS = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 } as const

/** A certificate that TLS refuses reaches our verifier, so that the peer gets an answer. */
const ANSWERED = { admitStrangers: true } as const

export class Port {
  readonly #owner: PortOwner
  readonly #settings: PortSettings
  readonly #server: NetServer
  readonly #tls: TlsServer | undefined
  #local: LocalListener | undefined
  #stopped = false

  /** `identity`: for TLS; `undefined`: plaintext only. */
  constructor(owner: PortOwner, settings: PortSettings, identity: Identity | undefined) {
    this.#owner = owner
    this.#settings = settings
    this.#tls = identity === undefined ? undefined : createTls(owner, settings, identity)
    this.#server = createServer(owner, settings, this.#tls)
  }

  /** `localDirectory`: where its Unix socket is made. @throws the system's error */
  async listen(localDirectory: LocalDirectory | undefined): Promise<void> {
    const { taken } = this.#owner
    if (taken === undefined || taken.beside) await this.#bind(taken !== undefined || this.#settings.port === 0)
    taken?.take((socket) => {
      socket.setNoDelay(true)
      socket.setKeepAlive(true, SOCKET_OPTIONS.keepAliveInitialDelay)
      this.#server.emit('connection', socket)
    })
    if (localDirectory === undefined) return
    this.#local = await LocalListener.open(localDirectory, this.#server)
    if (this.#stopped) this.#local?.close()
  }

  /** `exclusive`: workers of a cluster share a port otherwise, also one that is any free port. */
  #bind(exclusive: boolean): Promise<void> {
    const server = this.#server
    const { host, port } = this.#settings
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port, exclusive }, () => {
        server.off('error', reject)
        // Accepting may fail later, with too many open files; that must not end the process.
        server.on('error', ignore)
        if (!exclusive && cluster().isWorker) tellShared(port)
        resolve()
      })
    })
  }

  /** Its Unix socket; `undefined`: there is none. */
  get local(): LocalAddress | undefined {
    return this.#local?.address
  }

  get address(): AddressInfo {
    const address = this.#server.address() ?? this.#owner.taken?.address ?? null
    if (address === null || typeof address === 'string') {
      throw new MeshError('The server does not listen any more.', { code: 'closed' })
    }
    return address
  }

  /** For handshakes from now on. */
  present(identity: Identity): void {
    this.#tls?.setSecureContext(serverTlsOptions(identity, ANSWERED))
  }

  stopAccepting(): void {
    this.#stopped = true
    this.#owner.taken?.giveBack(this.#owner.strict)
    if (this.#server.listening) this.#server.close()
    this.#local?.close()
  }
}

function createTls(owner: PortOwner, settings: PortSettings, identity: Identity): TlsServer {
  const server = createTlsServer({
    ...serverTlsOptions(identity, ANSWERED),
    // No answer ends the handshake, as without a callback. The client's order decides: ours ask for
    // the best first, and gateways may want HTTP/2.
    ALPNCallback: ({ protocols }) => protocols.find((one) => owner.speaks(one)),
    handshakeTimeout: Math.min(settings.headersTimeout, HANDSHAKE_TIMEOUT_MS),
  })
  server.on('secureConnection', (socket) => owner.secured(socket))
  server.on('tlsClientError', (error: Error, socket: TLSSocket) => owner.handshakeFailed(error, socket))
  return server
}

function createServer(owner: PortOwner, settings: PortSettings, tls: TlsServer | undefined): NetServer {
  const secure: Prefaced | undefined = tls && {
    preface: TLS_PREFACE,
    accept: (socket) => {
      socket.allowHalfOpen = false
      tls.emit('connection', socket)
    },
  }
  const otherwise = (socket: Socket): void => owner.unprefaced(socket)
  const { headersTimeout, maxConnections } = settings
  const server = createNetServer({ allowHalfOpen: true, ...SOCKET_OPTIONS })
  server.on('connection', (socket: Socket) => {
    owner.connected(socket)
    const plaintext = owner.prefaced()
    const known = secure === undefined ? plaintext : [secure, ...plaintext]
    // A client that waits for its turn to speak TLS would not understand an answer.
    const answer = secure === undefined ? owner.silence : undefined
    // An application whose server it is has limits for those that say nothing.
    const silence = owner.taken === undefined ? answer : otherwise
    if (known.length === 0) otherwise(socket)
    else detectPreface(socket, owner.clock, headersTimeout, known, otherwise, silence)
  })
  if (maxConnections !== undefined) server.maxConnections = maxConnections
  server.on('drop', () => owner.dropped())
  return server
}

function ignore(): void {}

/** Callers take instances with one address for several, and reach any of them. */
function tellShared(port: number): void {
  process.emitWarning(
    `workers of node:cluster share port ${port}: callers cannot balance over them or leave one out. ` +
      'Leave out `port`: each worker then listens on a free port and is an instance by itself',
    { type: 'InmeshWarning', code: 'INMESH_SHARED_PORT' },
  )
}

/** Loading it in each process would take longer than most starts. */
function cluster(): Cluster {
  return process.getBuiltinModule('node:cluster') as unknown as Cluster
}
