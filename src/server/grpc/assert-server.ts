/** Refuses a grpc-js `Server` that the mesh cannot serve, or whose options would have no effect. */
import type * as grpc from '@grpc/grpc-js'
import { OptionsError, show } from '../../options/fields.ts'
import { internalsOf } from './internals.ts'

/** Channel options without effect, each with its replacement. */
const REFUSED_OPTIONS: Readonly<Record<string, string>> = {
  'grpc-node.tls_enable_trace': "TLS is the mesh's; NODE_DEBUG=tls traces it",
}

export const ANOTHER_COPY =
  'comes from another copy of @grpc/grpc-js than the one that inmesh found: npm ls @grpc/grpc-js'

/** @throws OptionsError */
export function assertServer(server: grpc.Server, { Server }: typeof grpc): void {
  if (typeof (server as Partial<grpc.Server> | null)?.createConnectionInjector !== 'function') {
    const hint = typeof server === 'function' ? '; mesh.serve takes handlers, such as that of connect-es' : ''
    throw wrongServer(`expected a Server of @grpc/grpc-js or of nice-grpc, got ${show(server)}${hint}`)
  }
  if (!(server instanceof Server)) {
    throw wrongServer(ANOTHER_COPY)
  }
  const { shutdown, options } = internalsOf(server)
  if (shutdown) throw wrongServer('was shut down by tryShutdown() or forceShutdown(); serve a new Server')
  for (const [name, hint] of Object.entries(REFUSED_OPTIONS)) {
    if (options[name] === undefined) continue
    throw new OptionsError('serveGrpc', [{ path: ['server', name], message: `would have no effect: ${hint}` }])
  }
}

export function wrongServer(message: string): OptionsError {
  return new OptionsError('serveGrpc', [{ path: ['server'], message }])
}
