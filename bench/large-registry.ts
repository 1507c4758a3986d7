/**
 * Measures one registry of two over etcd with 100,000 instances: its memory, and the pauses of its
 * event loop while 1,000 watchers ask for everything again.
 */
import type { Credentials } from '../test/rigs/registry-session.ts'
import { type Options, type Report, round, single } from './harness.ts'
import { pause, registerAll } from './registry.ts'
import { openSessionsAt, SharedStore } from './shared-store.ts'

const PER_SERVICE = 1_000
const PER_SESSION = 100
const WATCHERS = 1_000
/** Sessions that register at the same time. */
const TOGETHER = 50
/** Services that a watcher follows. */
const FOLLOWS = 10
/** Of a long list: messages that follow. */
const PARTS = /"parts":(\d+)/

export function largeRegistry({ quick }: Options): Promise<Report> {
  return SharedStore.with(2, async (store) => {
    const services = quick ? 10 : 100
    const instances = services * PER_SERVICE
    await store.startAll({ lease: '10m' })
    const names = Array.from({ length: services }, (_, i) => `service-${i}`)
    const owners: Credentials[] = []
    for (const name of names) owners.push(await store.credentials(name))
    const own = (i: number) => [names[i % services]!, owners[i % services]!] as const
    const before = performance.now()
    // All at the first registry: the second one is measured, and knows them from etcd.
    const registrants = await openSessionsAt(store, instances / PER_SESSION, own, [0])
    for (let i = 0; i < registrants.length; i += TOGETHER) {
      const some = registrants.slice(i, i + TOGETHER)
      await Promise.all(some.flatMap((session, j) => registerAll(session, i + j, names[(i + j) % services]!)))
    }
    const seconds = (performance.now() - before) / 1_000
    const measured = store.registries[1]!
    const last = await store.registries[0]!.ask<number>('revision')
    while ((await measured.ask<number>('revision')) < last) await pause(50)
    const mb = await measured.ask<number>('memory')

    const watching = await openSessionsAt(store, WATCHERS, own, [1])
    let left = 0
    let done = (): void => {}
    for (const session of watching) {
      session.heard = (line) => {
        if (line.startsWith('{"type":"snapshot"')) left += Number(PARTS.exec(line)?.[1] ?? 0) - 1
        else if (line.startsWith('{"type":"part"')) left -= 1
        if (left === 0) done()
      }
    }
    const resync = async (): Promise<number> => {
      left = WATCHERS * FOLLOWS
      const all = new Promise<void>((resolve) => {
        done = resolve
      })
      const begun = performance.now()
      for (const [i, session] of watching.entries()) {
        for (let j = 0; j < FOLLOWS; j++) session.send({ type: 'watch', service: names[(i + j) % services]! })
      }
      await all
      return performance.now() - begun
    }
    await resync()
    await measured.ask('watchPauses')
    const resyncMs = Math.round(await resync())
    const pauseMs = Math.round(await measured.ask<number>('longestPauseMs'))
    const watchedMb = await measured.ask<number>('memory')
    for (const session of [...registrants, ...watching]) session.close()
    return {
      title: 'One registry with very many instances',
      rows: [
        { what: `seconds to register ${instances} instances`, figure: round(seconds, 1) },
        { what: `MB with ${instances} instances`, figure: round(mb, 1) },
        { what: `MB with ${WATCHERS} watchers of ${FOLLOWS} services besides`, figure: round(watchedMb, 1) },
        { what: `ms of a full resync of ${WATCHERS} watchers`, figure: resyncMs },
        { what: 'longest pause of its event loop meanwhile, ms', figure: pauseMs },
      ],
      targets: [
        { what: `MB with ${instances} instances`, found: single(round(mb, 1)), wanted: { atMost: 1_200 } },
        { what: 'ms of pause in a full resync', found: single(pauseMs), wanted: { atMost: 500 } },
      ],
      figures: { largeRegistry: { mb: round(mb, 1), watchedMb: round(watchedMb, 1), resyncMs, pauseMs, instances } },
    }
  })
}
