/** An instance as it is registered, for tests that care about a few of its fields. */
import type { Instance } from '../../src/discovery/instance.ts'

export function instance(service: string, id: string, more: Partial<Instance> = {}): Instance {
  return {
    service,
    id,
    address: '127.0.0.1',
    port: portOf(id),
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

/** Another for another id, as processes on one machine have it. */
function portOf(id: string): number {
  let port = 0
  for (const char of id) port = (port * 31 + char.charCodeAt(0)) % 50_000
  return 10_000 + port
}
