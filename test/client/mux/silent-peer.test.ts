import { expect, it } from 'vitest'
import { HttpTransport } from '../../../src/client/http/transport.ts'
import { resolveHttpTransport } from '../../../src/client/http/transport-options.ts'
import { PeerWatch } from '../../../src/client/mux/peer-watch.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { opened } from '../http/opened.ts'
import { until } from '../http/rig.ts'
import { announcing, answer, MuxPeer } from './peers.ts'

it('a peer that died without closing is noticed within the keep-alive time, and its calls fail', async () => {
  const clock = new FakeClock()
  const http = await HttpTransport.create({ clock, preference: 'auto', settings: resolveHttpTransport() })
  opened({ close: () => http.close(0) })
  const server = opened(await new MuxPeer((stream, path) => void (path === '/dead' || answer(stream))).listen())
  const at = announcing(server.port)
  const told: unknown[] = []
  const ask = (path: string): void => void http.probe(path)(at, 60_000, (...verdict) => void told.push(verdict))
  ask('/alive')
  await until(() => told.length === 1)
  ask('/dead')
  await until(() => server.executed.length === 2)
  // Nothing of what we send is read any more, and nothing comes.
  server.connections[0]!.socket.pause()
  const pool = http.poolOf(at)
  for (let i = 0; i < 5; i++) clock.advance(1_000)
  expect(pool.reachable).toBe(false)
  expect(pool.connections).toBe(1)
  for (let i = 0; i < 10; i++) clock.advance(1_000)
  await until(() => told.length === 2)
  expect(told).toEqual([
    [true, 'status 200'],
    [false, 'connection-lost'],
  ])
  expect(pool.connections).toBe(0)
})

it('calls do not wait for a silent peer: they look for another connection, and are refused if there is none', async () => {
  const clock = new FakeClock()
  const http = await HttpTransport.create({ clock, preference: 'auto', settings: resolveHttpTransport() })
  opened({ close: () => http.close(0) })
  const server = opened(await new MuxPeer((stream, path) => void (path === '/dead' || answer(stream))).listen())
  const at = announcing(server.port)
  const told: unknown[] = []
  const ask = (path: string): void => void http.probe(path)(at, 60_000, (...verdict) => void told.push(verdict))
  ask('/dead')
  await until(() => server.executed.length === 1)
  server.connections[0]!.socket.pause()
  for (let i = 0; i < 4; i++) clock.advance(1_000)
  ask('/next')
  // The process goes on for new connections only.
  await until(() => told.length === 1)
  expect(told).toEqual([[true, 'status 200']])
  expect(server.connections.length).toBe(2)
})

it('a peer whose loop answers late for some seconds gets a second connection', async () => {
  const clock = new FakeClock()
  let pings = 0
  const ping = (): void => {
    pings += 1
  }
  const session = { open: 0, backlog: 0, heardAt: 0, roundTripMs: 0, ping, send: { credit: 1_000_000 } }
  const watch = new PeerWatch(session as never, clock)
  const second = (roundTripMs: number): void => {
    clock.advance(1_000)
    session.roundTripMs = roundTripMs
    session.heardAt = clock.now()
    watch.tick(clock.now())
  }
  second(1)
  expect([pings, watch.strained]).toEqual([0, false])
  session.open = 3
  for (const ms of [0, 1, 200, 200]) second(ms)
  expect(watch.strained).toBe(false)
  second(200)
  expect(watch.strained).toBe(true)
  second(1)
  expect([watch.strained, pings]).toEqual([false, 6])
  session.backlog = 1_000_000
  for (let i = 0; i < 3; i++) second(1)
  expect(watch.strained).toBe(true)
})
