/** Reads a service's view from the snapshot on disk, as strictly as a message of the session. */
import { serviceName } from '../../options/names.ts'
import { readField, readObject } from '../read-field.ts'
import { NONE_LEFT } from '../resolver.ts'
import { EPOCH, REVISION, readList, readPolicy } from './message-fields.ts'
import type { ServiceView } from './service-view.ts'

/** @throws SnapshotRejected */
export function readStoredView(value: unknown): ServiceView {
  const view = readObject(value, 'view')
  return {
    service: readField(serviceName(), view.service, 'service'),
    epoch: readField(EPOCH, view.epoch, 'epoch'),
    revision: readField(REVISION, view.revision, 'revision'),
    endpoints: {
      ...readList(view.instances, view.service as string, true),
      intended: view.intended === true,
      left: NONE_LEFT,
      frozen: view.frozen === true,
      stale: true,
    },
    document: readPolicy(view.policy, view.service as string),
  }
}
