/**
 * The grpc-js `Server` of a nice-grpc server, which makes it only in order to bind it. Nothing is
 * bound: the method that would do it only notes the server, and only while nice-grpc calls it.
 */
import type * as grpc from '@grpc/grpc-js'
import { reasonOf } from '../../core/errors.ts'
import { ANOTHER_COPY, wrongServer } from './assert-server.ts'

/** A server made by nice-grpc's `createServer`. */
export interface NiceServer {
  listen(address: string): Promise<number>
  forceShutdown(): void
}

/** grpc-js refuses it before anything listens. */
const NO_ADDRESS = ''

export function isNiceServer(server: unknown): server is NiceServer {
  const { listen, add, shutdown, forceShutdown } = Object(server) as Record<string, unknown>
  return [listen, add, shutdown, forceShutdown].every((method) => typeof method === 'function')
}

/** @throws OptionsError if it listens already, or uses another copy of grpc-js */
export async function grpcServerOf(nice: NiceServer, { Server }: typeof grpc): Promise<grpc.Server> {
  const { bindAsync } = Server.prototype
  let found: grpc.Server | undefined
  Server.prototype.bindAsync = function (this: grpc.Server, _address, _credentials, callback) {
    found = this
    callback(null, 0)
  }
  let listening: Promise<number>
  try {
    // Up to `bindAsync` it runs in this turn.
    listening = nice.listen(NO_ADDRESS)
  } finally {
    Server.prototype.bindAsync = bindAsync
  }
  let reason = ANOTHER_COPY
  try {
    await listening
    if (found !== undefined) return found
  } catch (error) {
    const said = reasonOf(error)
    if (LISTENS.test(said))
      throw wrongServer('listens or is served already; mesh.serveGrpc takes the place of listen()')
    if (!NOT_PARSED.test(said)) reason = `is refused by nice-grpc, as where a method is not implemented: ${said}`
  }
  // nice-grpc would take it for one that listens.
  nice.forceShutdown()
  throw wrongServer(reason)
}

/** Of nice-grpc. */
const LISTENS = /listen\(\) has already been called/
/** Of grpc-js, about {@link NO_ADDRESS}. */
const NOT_PARSED = /^Could not parse/
