/** Refuses a grpc-js `Server` that the mesh cannot serve, or whose options would have no effect. */
import type * as grpc from '@grpc/grpc-js'
import { OptionsError, show } from '../../options/fields.ts'
import { internalsOf } from './internals.ts'

/** Channel options without effect, each with its replacement. */
const REFUSED_OPTIONS: Readonly<Record<string, string>> = {
  'grpc-node.tls_enable_trace': "TLS is the mesh's; NODE_DEBUG=tls traces it",
}

/** @throws OptionsError */
export function assertServer(server: grpc.Server, { Server }: typeof grpc): void {
  const wrong = (message: string): OptionsError => new OptionsError('serveGrpc', [{ path: ['server'], message }])
  if (typeof (server as Partial<grpc.Server> | null)?.createConnectionInjector !== 'function') {
    throw wrong(`expected a Server of @grpc/grpc-js, got ${show(server)}`)
  }
  if (!(server instanceof Server)) {
    throw wrong('comes from another copy of @grpc/grpc-js than the one that inmesh found: npm ls @grpc/grpc-js')
  }
  const { shutdown, options } = internalsOf(server)
  if (shutdown) throw wrong('was shut down by tryShutdown() or forceShutdown(); serve a new Server')
  for (const [name, hint] of Object.entries(REFUSED_OPTIONS)) {
    if (options[name] === undefined) continue
    throw new OptionsError('serveGrpc', [{ path: ['server', name], message: `would have no effect: ${hint}` }])
  }
}
