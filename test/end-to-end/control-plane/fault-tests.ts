/**
 * Tests of faults: registries, etcd, load and writers are there before the first, and after each
 * `verify` holds. `INMESH_FAULT_RUNS=5` runs all of them five times.
 */
import { env } from 'node:process'
import { afterAll, describe, test } from 'vitest'
import { WITHOUT_ETCD, withEtcd } from '../../rigs/etcd.ts'
import { Rig } from '../rig.ts'
import { ControlPlane, type PlaneOptions } from './control-plane.ts'

const RUNS = Array.from({ length: Number(env.INMESH_FAULT_RUNS ?? 1) }, (_, i) => i + 1)
const TEST_MS = 300_000
/** Of each registry, shown after a failure. */
const LOG_LENGTH = 5_000

export interface FaultOptions extends PlaneOptions {
  /** Why they cannot run here, if they cannot. */
  readonly missing?: string | undefined
}

export type Fault = (plane: ControlPlane) => Promise<void>

/**
 * `faults` by what holds when they have happened. They share one control plane, because starting it
 * costs more than most faults; the one after a failure begins with another.
 */
export function faultTests(title: string, options: FaultOptions, faults: Readonly<Record<string, Fault>>): void {
  const { missing, ...planeOptions } = options
  const needsEtcd = !('etcd' in options) || options.etcd !== undefined
  const reason = missing ?? (needsEtcd ? WITHOUT_ETCD : undefined)
  const name = missing === undefined ? (needsEtcd ? withEtcd(title) : title) : `${title} (SKIPPED: ${missing})`
  describe.skipIf(reason !== undefined)(name, () => {
    describe.each(RUNS)('run %i', () => {
      let rig: Rig | undefined
      let plane: ControlPlane | undefined
      const close = async (): Promise<void> => {
        const closing = rig
        rig = undefined
        plane = undefined
        await closing?.close()
      }
      afterAll(close)
      test.each(Object.entries(faults))(
        '%s',
        async (_, fault) => {
          try {
            rig ??= new Rig()
            plane ??= await ControlPlane.start(rig, planeOptions)
            await fault(plane)
            await plane.verify()
          } catch (error) {
            for (const { name, log } of plane?.registries ?? []) console.error(`${name}: ${log.slice(-LOG_LENGTH)}`)
            await close()
            throw error
          }
        },
        TEST_MS,
      )
    })
  })
}
