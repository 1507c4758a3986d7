/** Calls that wait for a mux connection are served as soon as it takes calls, whatever freed it. */
import * as grpc from '@grpc/grpc-js'
import { expect, it } from 'vitest'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { until } from '../http/rig.ts'
import { announcing, NO_EVENTS, peer } from '../mux/peers.ts'
import { GET, KINDS } from './kinds.ts'
import { grpcRigOver } from './rig.ts'

const NOT_FOUND = ['content-type', 'application/grpc', 'grpc-status', '5']

it('when a silent peer is heard again, though no call on it has ended', async () => {
  const clock = new FakeClock()
  const server = await peer((stream, path) => {
    if (path.endsWith('/Get')) stream.respond(200, '', NOT_FOUND, undefined, true)
  })
  const rig = grpcRigOver([announcing(server.port)], {
    preference: 'auto',
    transportClock: clock,
    retry: { attempts: 1 },
  })
  const long = KINDS.find(({ name }) => name === 'watch')!.begin(rig.client)
  await until(() => server.executed.length === 1)
  const { socket } = server.connections[0]!
  socket.pause()
  for (let i = 0; i < 4; i++) clock.advance(1_000)
  const late = GET.run(rig.client)
  const pool = rig.transport.poolOf(rig.endpoint)
  await until(() => pool.waiting === 1)
  socket.resume()
  expect((await late).error?.code).toBe(grpc.status.NOT_FOUND)
  expect(server.connections).toHaveLength(1)
  long.cancel()
})

it('when the call before them is cancelled before it begins', async () => {
  const server = await peer(
    (stream) => {
      stream.events = NO_EVENTS
      stream.respond(200, '', NOT_FOUND, undefined, true)
    },
    { maxStreams: 1 },
  )
  const rig = grpcRigOver([announcing(server.port)], { preference: 'auto', retry: { attempts: 1 } })
  expect((await GET.run(rig.client)).error?.code).toBe(grpc.status.NOT_FOUND)
  const first = rig.client.upload(() => {})
  const pool = rig.transport.poolOf(rig.endpoint)
  const second = GET.run(rig.client)
  first.cancel()
  expect((await second).error?.code).toBe(grpc.status.NOT_FOUND)
  expect(pool.waiting).toBe(0)
  expect(server.executed).toHaveLength(2)
})
