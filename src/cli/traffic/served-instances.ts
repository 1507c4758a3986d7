/** The instances of a service, with how each served over the last minute. */
import type { ServiceInstance } from '../../registry/traffic/instances.ts'
import { type RegistryApi, RegistryRefusal } from '../registry-api.ts'
import { askTraffic } from './ask.ts'
import { type Column, tableOf } from './columns.ts'
import { figure, percent } from './figures.ts'

const COLUMNS: readonly Column<ServiceInstance>[] = [
  { title: 'INSTANCE', text: ({ address }) => address },
  { title: 'VERSION', text: ({ version }) => version ?? '-' },
  { title: 'ZONE', text: ({ zone }) => zone ?? '-' },
  { title: 'STATE', text: ({ state, disabled }) => (disabled ? 'disabled' : state) },
  { title: 'SERVED/S', text: ({ served }) => figure(served?.perSecond), isFigure: true },
  { title: 'SHARE %', text: ({ served }) => percent(served?.share), isFigure: true },
  { title: 'SUCCESS %', text: ({ served }) => percent(served?.success), isFigure: true },
  { title: 'P50 MS', text: ({ served }) => figure(served?.p50), isFigure: true },
  { title: 'P99 MS', text: ({ served }) => figure(served?.p99), isFigure: true },
  { title: 'IN FLIGHT', text: ({ served }) => figure(served?.inFlight), isFigure: true },
]

/** None of a service that is only called. */
export async function askInstances(api: RegistryApi, service: string): Promise<readonly ServiceInstance[]> {
  try {
    return (await askTraffic(api, 'instances', { service })).instances
  } catch (error) {
    if (error instanceof RegistryRefusal && error.status === 404) return []
    throw error
  }
}

export function instanceLines(instances: readonly ServiceInstance[]): string[] {
  if (instances.length === 0) return []
  return ['', 'instances, over the last minute', ...tableOf(COLUMNS, instances).map((line) => `  ${line}`)]
}
