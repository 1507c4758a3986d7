/** A transport as the semantic conventions name it: the protocol and its version. */
import { HTTP2, type TransportName } from '../core/transport.ts'

export interface NetworkProtocol {
  readonly name: string | undefined
  readonly version: string | undefined
}

const NONE: NetworkProtocol = Object.freeze({ name: undefined, version: undefined })

export function networkProtocol(transport: TransportName | undefined): NetworkProtocol {
  if (transport === undefined) return NONE
  const [name, version] = transport === HTTP2 ? ['http', '2'] : transport.split('/')
  return { name, version }
}
