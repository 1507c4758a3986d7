/** Servers of grpc-js, which bind as they do without the mesh. */

import { keepAlive } from '../core/keep-alive.ts'
import type { GrpcServing, MeshServer } from '../mesh/mesh-server.ts'
import { listeningGrpc } from '../server/grpc/taken-server.ts'
import type { ListeningServer } from '../server/listening-server.ts'
import type { AutoHost } from './auto-host.ts'
import type { ModulePatch } from './loaded-modules.ts'
import { addressText, ServicePorts } from './service-ports.ts'
import type { TakenServer, TakenServers } from './taken-servers.ts'
import { cluster } from './worker-name.ts'
import { onFreePort } from './worker-ports.ts'

type Bound = (error: Error | null, port: number) => void
type Shut = (error?: Error) => void

/** The methods of grpc-js's `Server` that we replace. */
interface ServerMethods {
  bindAsync(this: GrpcServing, address: string, credentials: Credentials, callback: Bound): void
  tryShutdown(this: GrpcServing, callback: Shut): void
  forceShutdown(this: GrpcServing): void
}

interface Credentials {
  _isSecure?(): boolean
}

class TakenGrpc implements TakenServer {
  left = false
  readonly #served: MeshServer
  readonly #shutDown: () => Promise<void>
  readonly #forget: () => void
  #leaving: Promise<void> | undefined

  constructor(served: MeshServer, shutDown: () => Promise<void>, servers: TakenServers, released: () => void) {
    this.#served = served
    this.#shutDown = shutDown
    const forget = servers.add(this)
    this.#forget = () => {
      forget()
      released()
    }
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#served.close().then(() => {
      this.left = true
      this.#forget()
    })
    return this.#leaving
  }

  finish(): Promise<void> {
    return this.#shutDown()
  }

  end(): void {
    void this.#served.end()
    void this.leave()
  }
}

export class GrpcServers {
  readonly #host: AutoHost
  readonly #servers: TakenServers
  readonly #ports: ServicePorts
  readonly #taken = new WeakMap<object, TakenGrpc>()

  constructor(host: AutoHost, servers: TakenServers) {
    this.#host = host
    this.#servers = servers
    this.#ports = new ServicePorts('gRPC', host)
  }

  readonly patches: readonly ModulePatch[] = [
    {
      file: '@grpc/grpc-js/build/src/server.js',
      name: 'Server',
      patch: (exports) => this.#patch((exports as { Server: { prototype: ServerMethods } }).Server.prototype),
    },
  ]

  #patch(prototype: ServerMethods): void {
    const { bindAsync, tryShutdown, forceShutdown } = prototype
    const taken = this.#taken
    const bind = (server: GrpcServing, address: string, credentials: Credentials, callback: Bound): void => {
      const bound: Bound = (error, port) => {
        if (error === null) this.#bound(server, credentials, port, () => shutDown(server))
        callback(error, port)
      }
      bindAsync.call(server, address, credentials, typeof callback === 'function' ? bound : callback)
    }
    const shutDown = (server: GrpcServing): Promise<void> =>
      new Promise((resolve) => tryShutdown.call(server, () => resolve()))
    const { required } = this.#host.settings
    const join = (): Promise<unknown> => keepAlive(this.#host.mesh.join())
    prototype.bindAsync = function (address, credentials, callback) {
      if (!required || typeof callback !== 'function') bind(this, address, credentials, callback)
      else {
        join().then(
          () => bind(this, address, credentials, callback),
          (error: Error) => callback(error, 0),
        )
      }
    }
    prototype.tryShutdown = function (callback) {
      const own = taken.get(this)
      if (own === undefined || own.left) tryShutdown.call(this, callback)
      else void own.leave().then(() => tryShutdown.call(this, callback))
    }
    prototype.forceShutdown = function () {
      taken.get(this)?.end()
      forceShutdown.call(this)
    }
  }

  #bound(server: GrpcServing, credentials: Credentials, port: number, shutDown: () => Promise<void>): void {
    const { report, settings } = this.#host
    const listening = port > 0 ? listeningGrpc(server, port, cluster().isWorker) : undefined
    // A Unix socket, or a version that we do not know.
    if (listening === undefined) return
    const { address } = listening
    if (credentials?._isSecure?.() === true) {
      const hint = 'has its own TLS; bind it with ServerCredentials.createInsecure(), and the mesh adds mTLS'
      report.tell(`not meshed: gRPC on ${addressText(address)} ${hint}`)
      return
    }
    if (!this.#ports.claim(server, address)) return
    if (settings.mode === 'strict') listening.take((socket) => void socket.destroy())
    this.#take(server, listening, shutDown).catch((error: unknown) => {
      this.#ports.release(server)
      listening.giveBack(settings.mode === 'strict')
      const reason = error instanceof Error ? error.message : String(error)
      report.warn(`not meshed: gRPC on ${addressText(address)}: ${reason}`)
    })
  }

  async #take(server: GrpcServing, listening: ListeningServer, shutDown: () => Promise<void>): Promise<void> {
    const { settings, report, mesh } = this.#host
    const { mode, advertise, workerPorts } = settings
    const { address, beside } = listening
    const joined = await mesh.join()
    const options = { mode, ...(advertise !== undefined && { advertise }) }
    const served = beside
      ? await onFreePort(workerPorts, (port) =>
          joined.takeGrpc(server, listening, { ...options, port, host: address.address }),
        )
      : await joined.takeGrpc(server, listening, options)
    this.#taken.set(server, new TakenGrpc(served, shutDown, this.#servers, () => this.#ports.release(server)))
    const own = beside ? `; calls of the mesh come to port ${served.port} of this worker` : ''
    report.tell(`serves gRPC on ${addressText(address)} (${mode})${own}`)
  }
}
