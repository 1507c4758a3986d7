/**
 * `mesh.createConnection`: connections for a library that writes its own HTTP/1.1, such as `ws`.
 * Its requests and upgrades are read in this process and go through the mesh.
 */
import type { NetConnectOpts, Socket } from 'node:net'
import type { HttpService } from '../call.ts'
import { type ConnectorOptions, resolveConnector } from './options.ts'
import { WireSocket } from './socket.ts'

/** Takes the place of `net.createConnection` in the options of a library. */
export interface Connector {
  (options: NetConnectOpts, connectionListener?: () => void): Socket
  (port: number, host?: string, connectionListener?: () => void): Socket
  (path: string, connectionListener?: () => void): Socket
}

/** @throws OptionsError naming the option */
export function makeConnector(service: HttpService, options: ConnectorOptions | undefined): Connector {
  const settings = resolveConnector(options)
  const connect = (given?: { readonly timeout?: unknown }): WireSocket => {
    const socket = new WireSocket(service, settings)
    const timeoutMs = Number(given?.timeout)
    if (timeoutMs > 0) socket.setTimeout(timeoutMs)
    return socket
  }
  return connect as unknown as Connector
}
