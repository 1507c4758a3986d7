/** Does an instance answer where the registry has it: a connection, TLS, and its certificate? */
import { Dial, type DialFailure, type DialSetup } from '../client/dial.ts'
import { Endpoint } from '../core/endpoint.ts'
import { isMeshError, reasonOf } from '../core/errors.ts'
import { HTTP1, HTTP2 } from '../core/transport.ts'
import type { Instance } from '../discovery/instance.ts'
import { TCP_ALPN } from '../net/tcp-greeting.ts'

/** `undefined`: it does; otherwise why not. Nothing is sent on the connection. */
export function reach(instance: Instance, shared: DialSetup, boundMs: number): Promise<string | undefined> {
  const { service, protocol, port } = instance
  const { clock, identity, lookup, loopbackAllowed } = shared
  const setup = {
    ...{ clock, identity, lookup, loopbackAllowed },
    settings: { connectTimeoutMs: boundMs },
    onPeerRefused: undefined,
    onRefusedByPeer: undefined,
  }
  const offers = protocol === 'tcp' ? [TCP_ALPN] : protocol === 'grpc' ? [HTTP2] : [HTTP1, HTTP2]
  return new Promise((resolve) => {
    const owner = {
      endpoint: new Endpoint(service, instance),
      opened(dial: Dial): void {
        dial.established()
        // The peer may still reset it.
        dial.socket.on('error', () => {}).destroy()
        resolve(undefined)
      },
      failed: (_dial: Dial, failure: DialFailure): void => resolve(mistakeOf(failure, port)),
    }
    new Dial(owner, setup, offers)
  })
}

function mistakeOf({ cause, late }: DialFailure, port: number): string {
  const { code = '' } = (cause ?? {}) as NodeJS.ErrnoException
  if (code === 'ECONNREFUSED') return `nothing listens on port ${port}`
  const speaksTls = late || isMeshError(cause) || !/^(?:EPROTO$|ERR_SSL_|ERR_TLS_|ECONNRESET$)/.test(code)
  return speaksTls ? reasonOf(cause) : `another program listens there: it answers with no TLS of the mesh (${code})`
}
