/** An instance as it is registered, for tests that care about a few of its fields. */
import type { Instance } from '../../src/discovery/wire.ts'

export function instance(service: string, id: string, more: Partial<Instance> = {}): Instance {
  return {
    service,
    id,
    address: '127.0.0.1',
    port: 8080,
    protocol: 'http',
    tls: true,
    zone: undefined,
    version: undefined,
    weight: 100,
    metadata: {},
    state: 'ready',
    ...more,
  }
}
