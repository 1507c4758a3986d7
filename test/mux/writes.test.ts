/** What leaves in one write. */
import { expect, test, vi } from 'vitest'
import { MuxSession, type SessionEvents } from '../../src/mux/session.ts'
import { MUX_DEFAULTS } from '../../src/mux/settings.ts'
import type { StreamEvents } from '../../src/mux/stream.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { carry, tick, WireSocket } from './wire.ts'

const nothing = (): void => {}
const SESSION: SessionEvents = {
  requestArrived: nothing,
  settled: nothing,
  goingAway: nothing,
  roomChanged: nothing,
  broken: nothing,
  closed: nothing,
}
const STREAM: StreamEvents = {
  responseArrived: nothing,
  dataArrived: (stream, chunk) => stream.read(chunk.length),
  trailersArrived: nothing,
  wasReset: nothing,
  drained: nothing,
}

class End {
  readonly socket = new WireSocket()
  readonly session: MuxSession
  readonly writes = vi.spyOn(this.socket, 'write')

  constructor(side: 'client' | 'server', events: Partial<SessionEvents> = {}) {
    const all = { ...SESSION, ...events }
    this.session = new MuxSession(this.socket.asSocket(), side, MUX_DEFAULTS, new FakeClock(), all)
  }
}

/** Both know each other. The server answers each request at once. */
async function pair(): Promise<{ client: End; server: End }> {
  const client = new End('client')
  const server = new End('server', {
    requestArrived: (stream) => {
      stream.events = STREAM
      stream.respond(200, '', [], 'answer', true)
    },
  })
  await tick()
  carry(client.socket, server.session)
  carry(server.socket, client.session)
  await tick()
  for (const { writes } of [client, server]) writes.mockClear()
  return { client, server }
}

/** As between two pieces that one read of a socket gives: within a turn of the event loop. */
function ticks(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve))
}

test.each([1, 2, 3])(
  'calls that follow on answers of one turn leave together, with the last %i apart',
  async (apart) => {
    const { client, server } = await pair()
    // As a caller who awaits an answer.
    const again: StreamEvents = {
      ...STREAM,
      dataArrived: nothing,
      responseArrived: () => queueMicrotask(() => client.session.request('GET', '/', [], undefined, true, STREAM)),
    }
    for (let i = 0; i < 4; i++) client.session.request('GET', '/', [], undefined, true, again)
    await tick()
    carry(client.socket, server.session)
    await tick()
    client.writes.mockClear()
    carry(server.socket, client.session, (server.socket.waiting / 4) * (4 - apart))
    await ticks()
    carry(server.socket, client.session)
    await ticks()
    await tick()
    expect(client.writes).toHaveBeenCalledTimes(1)
    carry(client.socket, server.session)
    expect(server.session.open).toBe(0)
    expect(client.session.open).toBe(4)
  },
)

test('answers to requests that fill more than a record of TLS leave together', async () => {
  const { client, server } = await pair()
  const body = Buffer.alloc(1_000)
  for (let i = 0; i < 17; i++) client.session.request('POST', '/', [], body, true, STREAM)
  await tick()
  carry(client.socket, server.session, 16_384)
  await ticks()
  carry(client.socket, server.session)
  await tick()
  expect(server.writes).toHaveBeenCalledTimes(1)
  carry(server.socket, client.session)
  expect(client.session.open).toBe(0)
})

test('one call at a time waits for no other', async () => {
  const { client, server } = await pair()
  client.session.request('GET', '/', [], undefined, true, STREAM)
  await ticks()
  expect(client.writes).toHaveBeenCalledTimes(1)
  carry(client.socket, server.session)
  await ticks()
  expect(server.writes).toHaveBeenCalledTimes(1)
})
