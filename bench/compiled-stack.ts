/** A service with its policies and endpoints, in this process and without a transport. */
import { LeastLoad } from '../src/client/balancing/least-load.ts'
import { Call, type CallKind } from '../src/core/call.ts'
import { systemClock } from '../src/core/clock.ts'
import { Endpoint } from '../src/core/endpoint.ts'
import type { Cluster } from '../src/core/picker.ts'
import { SILENT } from '../src/core/telemetry.ts'
import { ServiceState } from '../src/resilience/service-state.ts'
import { SERVICE } from '../src/resilience/settings.ts'
import { compileStack, type Stack } from '../src/resilience/stack.ts'

export const clock = systemClock
export const KIND: CallKind = {
  service: 'inventory',
  method: 'GET',
  protocol: 'http',
  streaming: false,
  idempotent: true,
}

export function endpoints(count: number): Endpoint[] {
  const metadata = Object.freeze({})
  return Array.from(
    { length: count },
    (_, i) =>
      new Endpoint('inventory', {
        id: `instance-${i}`,
        address: '127.0.0.1',
        port: 1024 + i,
        protocol: 'http',
        tls: true,
        zone: undefined,
        version: undefined,
        weight: 1,
        metadata,
      }),
  )
}

export function compile(count: number): { stack: Stack; state: ServiceState; cluster: Cluster } {
  const state = new ServiceState('inventory', clock)
  const balancer = new LeastLoad(clock, state.ejection)
  const all = endpoints(count)
  state.ejection.watch(all)
  const cluster = {
    service: 'inventory',
    endpoints: all,
    picker: balancer.picker(all),
    whenAvailable: () => () => {},
    onChange: () => () => {},
  }
  const settings = SERVICE.resolve()
  state.configure(settings)
  const stack = compileStack({ settings, state, cluster, balancer, telemetry: SILENT, clock })
  return { stack, state, cluster }
}

export function newCall(): Call {
  return new Call(KIND, 0, Number.POSITIVE_INFINITY, undefined)
}
