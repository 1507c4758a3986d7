/**
 * A test of one fault: registries, etcd, load and writers are there before it, and after it
 * `verify` holds. `INMESH_FAULT_RUNS=5` runs each five times in a row.
 */
import { env } from 'node:process'
import { afterEach, describe, test } from 'vitest'
import { WITHOUT_ETCD, withEtcd } from '../../rigs/etcd.ts'
import { Rig } from '../rig.ts'
import { ControlPlane, type PlaneOptions } from './control-plane.ts'

const RUNS = Number(env.INMESH_FAULT_RUNS ?? 1)
const TEST_MS = 300_000
/** Of each registry, shown after a failure. */
const LOG_LENGTH = 5_000

export interface FaultOptions extends PlaneOptions {
  /** Why it cannot run here, if it cannot. */
  readonly missing?: string | undefined
}

/** `title` is what holds when `fault` has happened. */
export function faultTest(title: string, options: FaultOptions, fault: (plane: ControlPlane) => Promise<void>): void {
  let rig: Rig | undefined
  afterEach(async () => {
    await rig?.close()
    rig = undefined
  })
  const { missing, ...plane } = options
  const needsEtcd = !('etcd' in options) || options.etcd !== undefined
  const reason = missing ?? (needsEtcd ? WITHOUT_ETCD : undefined)
  const name = missing === undefined ? (needsEtcd ? withEtcd(title) : title) : `${title} (SKIPPED: ${missing})`
  describe.skipIf(reason !== undefined)(name, () => {
    test.each(Array.from({ length: RUNS }, (_, i) => i + 1))(
      'run %i',
      async () => {
        rig = new Rig()
        const started = await ControlPlane.start(rig, plane)
        try {
          await fault(started)
          await started.verify()
        } catch (error) {
          for (const { name, log } of started.registries) console.error(`${name}: ${log.slice(-LOG_LENGTH)}`)
          throw error
        }
      },
      TEST_MS,
    )
  })
}
