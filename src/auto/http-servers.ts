/**
 * Servers of `node:http`: the application listens, and the mesh takes over what its peers connect
 * to. A server listens, closes and tells its address as without it.
 */
import { Server } from 'node:http'
import { type AddressInfo, Server as NetServer } from 'node:net'
import { keepAlive } from '../core/keep-alive.ts'
import type { MeshServer } from '../mesh/mesh-server.ts'
import { isOwn } from '../net/own.ts'
import { applicationBehind, keptSettings, listeningHttp, plaintextOnly } from '../server/http/taken-server.ts'
import type { ListeningServer } from '../server/listening-server.ts'
import type { AutoHost } from './auto-host.ts'
import { addressText, ServicePorts } from './service-ports.ts'
import type { TakenServer, TakenServers } from './taken-servers.ts'
import { cluster } from './worker-name.ts'
import { onFreePort } from './worker-ports.ts'

type Listen = (this: NetServer, ...given: unknown[]) => NetServer
type Closed = (error?: Error) => void
type Close = (this: Server, callback?: Closed) => Server

/** As Node has them, before we replace them. */
const { listen } = NetServer.prototype as unknown as { listen: Listen }
const { close, closeAllConnections } = Server.prototype as Server & { close: Close }

class TakenHttp implements TakenServer {
  left = false
  readonly #served: MeshServer
  readonly #server: Server
  readonly #forget: () => void
  #leaving: Promise<void> | undefined

  constructor(served: MeshServer, server: Server, servers: TakenServers, released: () => void) {
    this.#served = served
    this.#server = server
    const forget = servers.add(this)
    this.#forget = () => {
      forget()
      released()
    }
    // It may also end with an error, or by its worker's end.
    server.once('close', () => void this.leave())
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#served.close().then(() => {
      this.left = true
      this.#forget()
    })
    return this.#leaving
  }

  finish(): Promise<void> {
    if (!this.#server.listening) return Promise.resolve()
    return new Promise((resolve) => close.call(this.#server, () => resolve()))
  }

  end(): void {
    void this.#served.end()
  }
}

export class HttpServers {
  readonly #host: AutoHost
  readonly #servers: TakenServers
  readonly #ports: ServicePorts
  readonly #listening = new WeakMap<Server, ListeningServer>()
  readonly #taken = new WeakMap<Server, TakenHttp>()
  /** They wait for the mesh. */
  readonly #held = new WeakSet<Server>()

  constructor(host: AutoHost, servers: TakenServers) {
    this.#host = host
    this.#servers = servers
    this.#ports = new ServicePorts('HTTP', host)
  }

  install(): void {
    const listens = (server: NetServer, given: unknown[]): void => this.#listen(server, given)
    const taken = this.#taken
    const held = this.#held
    const patched = {
      listen(this: NetServer, ...given: unknown[]) {
        listens(this, given)
        return this
      },
      close(this: Server, callback?: Closed) {
        held.delete(this)
        const own = taken.get(this)
        if (own === undefined || own.left) return close.call(this, callback)
        void own.leave().then(() => close.call(this, callback))
        return this
      },
      closeAllConnections(this: Server) {
        taken.get(this)?.end()
        closeAllConnections.call(this)
      },
    }
    NetServer.prototype.listen = patched.listen as never
    Object.assign(Server.prototype, { close: patched.close, closeAllConnections: patched.closeAllConnections })
  }

  #listen(server: NetServer, given: unknown[]): void {
    if (isOwn(server)) listen.apply(server, given)
    else if (!(server instanceof Server)) {
      if (this.#host.settings.report) server.once('listening', () => this.#notOurs(server))
      listen.apply(server, given)
    } else if (this.#host.settings.required) this.#listenLater(server, given)
    else {
      this.#await(server)
      listen.apply(server, given)
    }
  }

  /** It listens once this process has joined. A failure is the server's, as a taken port is. */
  #listenLater(server: Server, given: unknown[]): void {
    this.#held.add(server)
    keepAlive(this.#host.mesh.join()).then(
      () => {
        if (!this.#held.delete(server)) return
        this.#await(server)
        if (this.#host.settings.mode === 'strict') this.#listenerOf(server).take((socket) => void socket.destroy())
        listen.apply(server, given)
      },
      (error: Error) => {
        if (this.#held.delete(server)) server.emit('error', error)
      },
    )
  }

  #await(server: Server): void {
    // After a failure, the application may call `listen` again.
    if (this.#listening.has(server)) return
    this.#listenerOf(server)
    server.on('listening', () => this.#listens(server))
  }

  #listenerOf(server: Server): ListeningServer {
    let listening = this.#listening.get(server)
    if (listening === undefined) {
      listening = listeningHttp(server, cluster().isWorker)
      this.#listening.set(server, listening)
    }
    return listening
  }

  #listens(server: Server): void {
    const listening = this.#listenerOf(server)
    const address = server.address()
    // A Unix socket has no port that others could call.
    if (address === null || typeof address === 'string' || !this.#ports.claim(server, address)) {
      listening.giveBack(false)
      return
    }
    this.#take(server, listening, address).catch((error: unknown) => {
      this.#ports.release(server)
      listening.giveBack(this.#host.settings.mode === 'strict')
      // It was closed before this process had joined.
      if (!server.listening) return
      const reason = error instanceof Error ? error.message : String(error)
      this.#host.report.warn(`not meshed: HTTP on ${addressText(address)}: ${reason}`)
    })
  }

  async #take(server: Server, listening: ListeningServer, address: AddressInfo): Promise<void> {
    const { settings, report, mesh } = this.#host
    const { mode, advertise, workerPorts } = settings
    const joined = await mesh.join()
    const options = { ...keptSettings(server), mode, ...(advertise !== undefined && { advertise }) }
    const application = applicationBehind(server)
    const { beside } = listening
    const served = beside
      ? await onFreePort(workerPorts, (port) =>
          joined.takeHttp(application, listening, { ...options, port, host: address.address }),
        )
      : await joined.takeHttp(application, listening, options)
    const taken = new TakenHttp(served, server, this.#servers, () => this.#ports.release(server))
    this.#taken.set(server, taken)
    if (!server.listening) await taken.leave()
    const own = beside ? `; calls of the mesh come to port ${served.port} of this worker` : ''
    report.tell(`serves HTTP on ${addressText(address)} (${mode})${own}`)
    const ignored = plaintextOnly(server)
    if (ignored.length > 0) report.tell(`without effect on requests of the mesh: ${ignored.join(', ')} of the server`)
  }

  #notOurs(server: NetServer): void {
    const secure = server instanceof process.getBuiltinModule('node:https').Server
    const address = server.address()
    if (!secure || address === null || typeof address === 'string') return
    const where = addressText(address)
    this.#host.report.tell(`not meshed: HTTPS on ${where} has its own TLS; serve plain HTTP, and the mesh adds mTLS`)
  }
}
