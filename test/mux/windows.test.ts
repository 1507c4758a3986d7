import { expect, test } from 'vitest'
import { MuxSession, type SessionEvents } from '../../src/mux/session.ts'
import { MUX_DEFAULTS, type MuxSettings } from '../../src/mux/settings.ts'
import type { MuxStream, StreamEvents } from '../../src/mux/stream.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { data, END, request, reset, response, settings, window } from './raw-mux.ts'
import { Victim } from './victim.ts'
import { carry, tick, WireSocket } from './wire.ts'

const WHOLE_BODY = 8_000_000

test('a writer that was asked to wait is notified, whatever it writes meanwhile', async () => {
  const victim = await Victim.settled('client', {}, settings(10, 2 ** 30, 2 ** 30))
  const stream = victim.ask('POST', '/', [], undefined, false)
  expect(stream.write(Buffer.alloc(180_000))).toBe(false)
  await tick()
  // Some has left, and more waits than a writer may go on with.
  expect(stream.queued).toBeGreaterThan(16_384)
  expect(stream.queued).toBeLessThan(65_536)
  stream.write('more')
  while (stream.queued > 0) {
    victim.sent()
    await tick()
  }
  expect(victim.log).toEqual(['drained'])
})

test('nothing is sent beyond the credit, and what is allowed follows at once', async () => {
  const victim = await Victim.settled('client', {}, settings(10, 20_000, 1_000_000))
  const stream = victim.ask('POST', '/', [], Buffer.alloc(50_000))
  await tick()
  const sent = () => victim.sent().reduce((sum, { type, payload }) => sum + (type === 'data' ? payload.length : 0), 0)
  expect(sent()).toBe(20_000 - 2 * 64)
  await victim.send(window(stream.id, 10))
  expect(sent()).toBe(0)
  await victim.send(window(stream.id, 10_000))
  expect(sent()).toBe(10_010 - 64)
  await victim.send(window(stream.id, 100_000))
  expect(sent()).toBe(50_000 - 20_000 + 128 - 10_010 + 64)
  expect(stream.localEnded).toBe(true)
})

test('credit of one byte at a time makes no frames of one byte', async () => {
  const victim = await Victim.settled('client', {}, settings(10, 17_000, 1_000_000))
  const stream = victim.ask('POST', '/', [], Buffer.alloc(100_000))
  await tick()
  victim.sent()
  for (let i = 0; i < 3_000; i++) await victim.send(window(stream.id, 1))
  expect(victim.sent().length).toBeLessThanOrEqual(3)
})

test('bytes that are read twice, or after a reset, are credited once', async () => {
  const victim = await Victim.settled('server', { connectionWindow: 40_000, streamWindow: 40_000 })
  await victim.send(
    request(1, { method: 'POST', flags: 0 }),
    data(1, Buffer.alloc(16_000)),
    data(1, Buffer.alloc(16_000)),
  )
  const stream = victim.streams[0]!
  stream.read(32_000)
  stream.read(32_000)
  stream.reset(1)
  stream.read(32_000)
  await tick()
  const credited = victim.sent().filter(({ type, stream: id }) => type === 'window' && id === 0)
  expect(credited.map(({ payload }) => payload.readUInt32BE(0))).toEqual([32_000 + 128])
})

test('what is unread of a stream that was reset is credited to the connection', async () => {
  const victim = await Victim.settled('server', { connectionWindow: 40_000, streamWindow: 40_000 })
  await victim.send(
    request(1, { method: 'POST', flags: 0 }),
    data(1, Buffer.alloc(16_000)),
    data(1, Buffer.alloc(16_000)),
  )
  victim.streams[0]!.reset(1)
  await tick()
  expect(victim.said()).toContain(`window 0 ${32_000 + 128}`)
})

test('what is unread of a stream that the peer resets is credited, too', async () => {
  const victim = await Victim.settled('server', { connectionWindow: 40_000, streamWindow: 40_000 })
  const chunk = Buffer.alloc(16_000)
  for (const id of [1, 2, 3]) {
    await victim.send(request(id, { method: 'POST', flags: 0 }), data(id, chunk), data(id, chunk), reset(id))
  }
  expect(victim.broken).toBe(undefined)
  expect(victim.said().filter((line) => line === `window 0 ${32_000 + 128}`)).toHaveLength(3)
})

test('a body that came with its head is charged like data', async () => {
  const victim = await Victim.settled('client', { streamWindow: 16_448, connectionWindow: 16_448 })
  victim.ask()
  victim.ask()
  await victim.send(response(1, 200, { body: 'a'.repeat(10_000) }), response(2, 200, { body: 'a'.repeat(6_000) }))
  expect(victim.broken).toBe(undefined)
  victim.ask()
  await victim.send(response(3, 200, { body: 'a'.repeat(400) }))
  expect(victim.broken).toMatch(/window/)
})

class Received implements StreamEvents {
  bytes = 0
  ended = false
  /** Bytes of the large body that had arrived when it ended. */
  endedAt = -1
  readonly #reads: boolean
  readonly #total: { bytes: number }

  constructor(reads: boolean, total = { bytes: 0 }) {
    this.#reads = reads
    this.#total = total
  }

  responseArrived(_stream: MuxStream, _status: number, _reason: string, _headers: string[], end: boolean): void {
    if (end) this.#end()
  }

  dataArrived(stream: MuxStream, chunk: Buffer, end: boolean): void {
    this.bytes += chunk.length
    this.#total.bytes += chunk.length
    if (this.#reads) stream.read(chunk.length)
    if (end) this.#end()
  }

  trailersArrived(): void {}
  wasReset(): void {}
  drained(): void {}

  #end(): void {
    this.ended = true
    this.endedAt = this.#total.bytes
  }
}

/** Two sessions; the server answers with as many bytes as the path says. */
function pair(clientSettings: Partial<MuxSettings> = {}) {
  const nothing = (): void => {}
  const quiet = { settled: nothing, goingAway: nothing, roomChanged: nothing, closed: nothing, requestArrived: nothing }
  const broken: SessionEvents['broken'] = (_code, reason) => {
    throw new Error(reason)
  }
  const [up, down] = [new WireSocket(), new WireSocket()]
  const clock = new FakeClock()
  const client = new MuxSession(up.asSocket(), 'client', { ...MUX_DEFAULTS, ...clientSettings }, clock, {
    ...quiet,
    broken,
  })
  const server = new MuxSession(down.asSocket(), 'server', MUX_DEFAULTS, clock, {
    ...quiet,
    broken,
    requestArrived(stream, _method, path) {
      stream.events = new Received(true)
      stream.respond(200, '', [], Buffer.alloc(Number(path.slice(1))), true)
    },
  })
  /** Carries at most `bytes` each way; whether anything moved. */
  const move = async (bytes = 65_536): Promise<boolean> => {
    await tick()
    const moved = carry(up, server, bytes) + carry(down, client, bytes)
    await tick()
    return moved > 0
  }
  return { client, move }
}

test('streams that are not read do not hold up the others', async () => {
  const { client, move } = pair({ streamWindow: 40_000, connectionWindow: 100_000 })
  await move()
  for (let i = 0; i < 2; i++) client.request('GET', '/90000', [], undefined, true, new Received(false))
  while (await move());
  const seen = new Received(true)
  client.request('GET', '/1000000', [], undefined, true, seen)
  while (await move());
  expect([seen.bytes, seen.ended]).toEqual([1_000_000, true])
})

test('64 small calls beside 8 MB are answered before a tenth of it has passed', async () => {
  const { client, move } = pair()
  await move()
  const total = { bytes: 0 }
  const large = new Received(true, total)
  client.request('GET', `/${WHOLE_BODY}`, [], undefined, true, large)
  for (let i = 0; i < 5; i++) await move()
  const before = total.bytes
  const small = Array.from({ length: 64 }, () => new Received(true, total))
  for (const each of small) client.request('GET', '/1000', [], undefined, true, each)
  while (!large.ended) expect(await move()).toBe(true)
  for (const { ended, endedAt } of small) {
    expect(ended).toBe(true)
    expect(endedAt - before).toBeLessThan(WHOLE_BODY / 10)
  }
})

test('large bodies share the connection: none waits for another', async () => {
  const { client, move } = pair({ streamWindow: 2 ** 30, connectionWindow: 2 ** 30 })
  await move()
  const bodies = Array.from({ length: 8 }, () => new Received(true))
  for (const body of bodies) client.request('GET', '/2000000', [], undefined, true, body)
  while (bodies.some(({ ended }) => !ended)) {
    expect(await move()).toBe(true)
    const bytes = bodies.map((body) => body.bytes)
    // A round of turns, and the head that each brings.
    expect(Math.max(...bytes) - Math.min(...bytes)).toBeLessThanOrEqual(2 * 16_384)
  }
})

test('an end without data is sent without credit', async () => {
  const victim = await Victim.settled('client', {}, settings(10, 16_448, 16_448))
  victim.ask('POST', '/', [], Buffer.alloc(16_384), false)
  const stream = victim.ask('POST', '/', [], undefined, false)
  stream.end()
  await tick()
  expect(victim.sent().at(-1)).toMatchObject({ type: 'data', stream: stream.id, flags: END })
})

test('what was read is credited when others fill the window, though they leave it unread', async () => {
  const victim = await Victim.settled('server', { connectionWindow: 40_000, streamWindow: 40_000 })
  await victim.send(
    request(1, { method: 'POST', flags: 0 }),
    request(3, { method: 'POST', flags: 0 }),
    data(1, Buffer.alloc(12_000)),
  )
  victim.streams[0]!.read(12_000)
  await tick()
  expect(victim.said()).not.toContain(`window 0 ${12_000 + 64}`)
  // What is left is less than what could be credited.
  await victim.send(data(3, Buffer.alloc(16_000)))
  expect(victim.said()).toContain(`window 0 ${12_000 + 64}`)
})
