/**
 * Old and new transports, foreign clients, a rotation of the root, restarts and changes of the
 * document, all under load: no call is lost, and none is executed twice.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AuthorityStatus } from '../../../src/registry/ca/authority-status.ts'
import { run } from '../../cli/run-command.ts'
import { missing } from '../../rigs/installed.ts'
import { eventually, type Process, Rig } from '../rig.ts'
import { MixedMesh } from './mixed-mesh.ts'

/** A rotation of the root takes two lives and more. */
const LIFE_MS = 10_000
const ROTATION_MS = 120_000
const TEST_MS = 240_000
const PERMISSIVE = { mode: 'permissive' }
const WITHOUT_CURL = missing('curl', '--version')

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

test(
  `mixed transports, foreign clients, a new root, restarts and changes lose no call${WITHOUT_CURL === undefined ? '' : ` (without curl: ${WITHOUT_CURL})`}`,
  async () => {
    const registry = await rig.registry({ dev: true, lease: '1s', certificateLife: LIFE_MS })
    const mesh = new MixedMesh(rig, async () => ({ registry: registry.url }))
    const ca = async (...args: string[]): Promise<AuthorityStatus> => {
      const { stdout, stderr } = await run(['ca', ...args, '--json', '--registry', registry.url])
      expect(stderr).toBe('')
      return JSON.parse(stdout)
    }
    await Promise.all([
      mesh.serve('a', 'a', { transport: 'auto' }, PERMISSIVE),
      mesh.serve('b', 'b', { transport: 'auto' }, PERMISSIVE),
      mesh.serve('c', 'c', { transport: 'http1' }, PERMISSIVE),
    ])
    const [auto, http1, foreign] = await Promise.all([
      mesh.call('auto', 60, { transport: 'auto' }),
      mesh.call('http1', 60, { transport: 'http1' }),
      mesh.callForeign(20, WITHOUT_CURL === undefined),
    ])
    const foreigners = ['undici a http/1.1', 'undici c http/1.1', 'http2 b h2', 'http2 c h2']
    await mesh.answers(auto, ['http a inmesh/1', 'grpc b inmesh/1', 'http c http/1.1', 'grpc c h2'])
    await mesh.answers(http1, ['http a http/1.1', 'grpc b h2', 'http c http/1.1', 'grpc c h2'])
    await mesh.answers(foreign, [...foreigners, ...(WITHOUT_CURL === undefined ? ['curl a', 'curl c'] : [])])

    const { pin } = await ca('status')
    await ca('rotate', 'root')
    /** Waits until all calls of the mesh are over what `pattern` matches. */
    const all = async (pattern: RegExp): Promise<void> => {
      const only = async (caller: Process): Promise<boolean> =>
        (await mesh.look(caller)).every((said) => pattern.test(said))
      await eventually(`all calls are over ${pattern}`, async () => (await only(auto)) && (await only(http1)))
    }
    // The document of a service counts more than the option of a process.
    await registry.applyPolicies([{ service: 'inventory', transport: 'http1' }])
    await all(/ (?:http\/1\.1|h2)$/)
    await registry.applyPolicies([{ service: 'inventory', transport: 'auto' }])
    await all(/ inmesh\/1$/)
    await registry.applyPolicies([{ service: 'inventory' }])
    await mesh.answers(http1, ['http a http/1.1', 'grpc b h2'])

    // A rollout of the option, and of its opposite.
    await mesh.replace('a', 'a-again', { transport: 'auto' }, PERMISSIVE)
    await mesh.answers(auto, ['http a-again inmesh/1', 'grpc a-again inmesh/1'])
    await mesh.replace('b', 'b-again', { transport: 'http1' }, PERMISSIVE)
    await mesh.answers(auto, ['http b-again http/1.1', 'grpc b-again h2'])
    await mesh.replace('c', 'c-again', { transport: 'auto' }, PERMISSIVE)
    await mesh.answers(auto, ['http c-again inmesh/1', 'grpc c-again inmesh/1'])
    await mesh.answers(http1, ['http c-again http/1.1', 'grpc c-again h2'])
    await mesh.answers(foreign, ['undici b-again http/1.1', 'http2 a-again h2', 'http2 c-again h2'])

    const stage = async (): Promise<string> => (await ca('status')).certificates.stage
    await eventually('the former root is withdrawn', async () => (await stage()) === 'steady', ROTATION_MS)
    expect((await ca('status')).pin).not.toBe(pin)
    await mesh.answers(auto, ['http a-again inmesh/1', 'grpc c-again inmesh/1', 'http b-again http/1.1'])
    await mesh.settle()
    expect(mesh.answered).toBeGreaterThan(2_000)
  },
  TEST_MS,
)
