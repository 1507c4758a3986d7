import { describe, expect, test } from 'vitest'
import type { ServiceView } from '../../../src/discovery/registry/service-view.ts'
import { type CachedState, SnapshotCache } from '../../../src/discovery/registry/snapshot-cache.ts'
import { KeyStore } from '../../../src/identity/key-store.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { newAuthority } from '../../rigs/certificates.ts'

const DEVELOPMENT: CachedState = { views: new Map(), dev: true }

describe('the last good snapshot', () => {
  test('is believed under the root it was written under, and under no other of the same trust domain', async () => {
    const clock = new FakeClock({ wallNow: Date.now() })
    const store = await KeyStore.open({ directory: undefined, clock })
    const [ours, theirs] = [newAuthority(clock.wallNow()).certificate, newAuthority(clock.wallNow()).certificate]
    const failures: string[] = []
    const under = (...roots: string[]) =>
      new SnapshotCache(
        store,
        () => roots,
        clock,
        (reason) => failures.push(reason),
      )

    const written = under(ours)
    written.changed(() => DEVELOPMENT)
    await written.close(() => DEVELOPMENT)
    expect((await under(ours).load()).dev).toBe(true)
    expect((await under(theirs, ours).load()).dev).toBe(true)
    expect(failures).toEqual([])
    expect((await under(theirs).load()).dev).toBeUndefined()
    expect(failures).toEqual(['the snapshot on disk was not used: of another registry'])
  })

  test('of an older format, which names no root, is not believed', async () => {
    const clock = new FakeClock()
    const store = await KeyStore.open({ directory: undefined, clock })
    const old = { format: 1, trustDomain: 'inmesh.local', writtenAt: clock.wallNow(), dev: true, views: [] }
    await store.writeState('snapshot.json', Buffer.from(JSON.stringify(old)))
    const root = newAuthority(Date.now()).certificate
    expect(
      await new SnapshotCache(
        store,
        () => [root],
        clock,
        () => {},
      ).load(),
    ).toEqual({ views: new Map(), dev: undefined })
  })

  test('of a service that is asked for no more is forgotten by its own age', async () => {
    const clock = new FakeClock({ wallNow: Date.now() })
    const store = await KeyStore.open({ directory: undefined, clock })
    const root = newAuthority(clock.wallNow()).certificate
    const run = () =>
      new SnapshotCache(
        store,
        () => [root],
        clock,
        () => {},
      )
    const live = (service: string): ServiceView => ({
      service,
      epoch: 'e',
      revision: 1,
      endpoints: { instances: [], intended: false, left: new Set(), frozen: false, stale: false },
      document: { policy: null },
    })
    const write = async (views: ReadonlyMap<string, ServiceView>): Promise<void> => {
      const written = run()
      const before = (await written.load()).views
      const known = (): CachedState => ({ views: new Map([...before, ...views]), dev: false })
      written.changed(known)
      await written.close(known)
    }
    const names = async (): Promise<string[]> => [...(await run().load()).views.keys()].sort()

    await write(
      new Map([
        ['once', live('once')],
        ['always', live('always')],
      ]),
    )
    clock.advance(40 * 3_600_000)
    await write(new Map([['always', live('always')]]))
    expect(await names()).toEqual(['always', 'once'])
    clock.advance(40 * 3_600_000)
    expect(await names()).toEqual(['always'])
    await write(new Map([['always', live('always')]]))
    const stored = JSON.parse((await store.readState('snapshot.json'))!.toString())
    expect(stored.views.map((view: ServiceView) => view.service)).toEqual(['always'])
  })
})
