/** Several changes of a service as one delta. */
import type { ServerMessage } from '../../discovery/registry/wire.ts'
import type { ServiceChange } from '../state.ts'

/** Several changes as one message: of every instance only how it is in the end. */
export function mergeChanges(
  service: string,
  previous: number,
  revision: number,
  changes: readonly ServiceChange[],
): Extract<ServerMessage, { type: 'delta' }> {
  const put = new Map<string, ServiceChange['put'][number]>()
  const gone = new Map<string, ServiceChange['gone'][number]>()
  let policy: unknown
  for (const change of changes) {
    for (const one of change.gone) {
      put.delete(one.id)
      gone.set(one.id, one)
    }
    for (const instance of change.put) {
      gone.delete(instance.id)
      put.set(instance.id, instance)
    }
    if (change.policy !== undefined) policy = change.policy
  }
  return {
    type: 'delta',
    service,
    previous,
    revision,
    ...(put.size > 0 ? { put: [...put.values()] } : {}),
    ...(gone.size > 0 ? { gone: [...gone.values()] } : {}),
    ...(policy !== undefined ? { policy } : {}),
  }
}
