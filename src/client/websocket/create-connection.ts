/**
 * `mesh.createConnection`: connections for a library that writes its own HTTP/1.1, such as `ws`.
 * Its request is read in this process and goes through the mesh as an upgrade.
 */
import { type IncomingMessage, Server } from 'node:http'
import type { NetConnectOpts, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { HttpService } from '../http/call.ts'
import { type ConnectorOptions, resolveConnector } from './options.ts'
import { UpgradeRelay } from './upgrade-relay.ts'

/** Takes the place of `net.createConnection` in the options of a library. */
export interface Connector {
  (options: NetConnectOpts, connectionListener?: () => void): Socket
  (port: number, host?: string, connectionListener?: () => void): Socket
  (path: string, connectionListener?: () => void): Socket
}

/** Far beyond what servers accept: they are the ones to refuse. */
const MAX_HEAD_BYTES = 262_144

/** By our end of each connection. */
const relays = new WeakMap<Duplex, UpgradeRelay>()
let reader: Server | undefined

/** @throws OptionsError naming the option */
export function makeConnector(service: HttpService, options: ConnectorOptions | undefined): Connector {
  const settings = resolveConnector(options)
  const connect = (given?: { readonly timeout?: unknown }): Duplex => {
    const relay = new UpgradeRelay(service, settings, Number(given?.timeout) || 0)
    relays.set(relay.ours, relay)
    reader ??= makeReader()
    reader.emit('connection', relay.ours)
    return relay.theirs
  }
  return connect as unknown as Connector
}

/** Reads the requests of all connections; it listens on no port. */
function makeReader(): Server {
  const server = new Server({ maxHeaderSize: MAX_HEAD_BYTES, requireHostHeader: false })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    relays.get(socket)?.begin(request, head)
  })
  server.on('request', ({ socket }: IncomingMessage) => {
    relays.get(socket)?.refuse()
  })
  server.on('clientError', (error: Error, socket: Duplex) => {
    relays.get(socket)?.fail(error)
  })
  return server
}
