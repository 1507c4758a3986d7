/** Endpoints with a zone, for tests. */
import { Endpoint } from '../../../src/core/endpoint.ts'

export function zoned(id: string, zone: string | undefined, weight = 100): Endpoint {
  return new Endpoint('inventory', {
    id,
    address: '127.0.0.1',
    port: 8080,
    protocol: 'http',
    tls: true,
    zone,
    version: undefined,
    weight,
    metadata: { 'hash-key': id },
  })
}
