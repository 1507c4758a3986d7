/** Reports of load on the wire. */
import { expect, test } from 'vitest'
import { END, fields, frame, request, response, settings, TYPE } from './raw-mux.ts'
import { Victim } from './victim.ts'
import { tick } from './wire.ts'

const LOAD = 64
const TAKES_LOAD = 4
const load = Buffer.from([0, 3, 0, 0, 0x30, 0xd4, 0, 0, 0x26, 0x48])
const REPORT = { inFlight: 3, latencyMs: 12.5, servedMs: 9.8 }
const reported = (stream: number): Buffer =>
  frame(TYPE.response, END | LOAD, stream, Buffer.concat([Buffer.from([0, 200]), load, fields([['a', 'b']])]))

function hello(value: number): Buffer {
  const key = Buffer.from([0, TAKES_LOAD, 0, 0, 0, value])
  return frame(TYPE.settings, 0, 0, Buffer.concat([settings().subarray(9), key]))
}

/** A server that answers with a head, a piece of the body and trailers, and reports with `at`. */
async function serving(greeting: Buffer, at: 'head' | 'trailers'): Promise<Victim> {
  const victim = await Victim.settled('server', {}, greeting)
  victim.serve = (stream) => {
    if (at === 'head') stream.load = REPORT
    stream.respond(200, '', ['a', 'b'], 'x', false)
    if (at === 'trailers') stream.load = REPORT
    stream.end(['c', 'd'])
  }
  return victim
}

test.each([
  ['a client that takes reports announces it', true, 1],
  ['one that takes none does not', false, 0],
])('%s', async (_what, takesLoad, count) => {
  const victim = new Victim('client', { takesLoad })
  await tick()
  const { payload } = victim.sent()[0]!
  const keys = Array.from({ length: payload.length / 6 }, (_, i) => payload.readUInt16BE(i * 6))
  expect(keys.filter((key) => key === TAKES_LOAD)).toHaveLength(count)
})

test.each(['head', 'trailers'] as const)('a report goes with the %s, once', async (at) => {
  const victim = await serving(hello(1), at)
  await victim.send(request(1))
  const frames = victim.sent().filter(({ stream }) => stream === 1)
  expect(frames.map(({ type, flags }) => [type, (flags & LOAD) !== 0])).toEqual([
    ['response', at === 'head'],
    ['trailers', at === 'trailers'],
  ])
  const { payload } = frames[at === 'head' ? 0 : 1]!
  expect(payload.subarray(at === 'head' ? 2 : 0).subarray(0, 10)).toEqual(load)
})

test.each([
  ['does not know the setting', settings()],
  ['sets it to 0', hello(0)],
])('a peer that %s gets no report', async (_what, greeting) => {
  const victim = await serving(greeting, 'head')
  await victim.send(request(1))
  expect(victim.sent().map(({ flags }) => flags & LOAD)).toEqual([0, 0])
})

test('numbers beyond their fields are cut, and a latency is never 0', async () => {
  const victim = await Victim.settled('server', {}, hello(1))
  victim.serve = (stream) => {
    stream.load = { inFlight: 1e9, latencyMs: 1e-9, servedMs: 1e12 }
    stream.respond(200, '', [], undefined, true)
  }
  await victim.send(request(1))
  expect(victim.sent()[0]!.payload.subarray(2, 12)).toEqual(Buffer.from([255, 255, 0, 0, 0, 1, 255, 255, 255, 255]))
})

test('a client reads reports of heads and of trailers', async () => {
  const victim = await Victim.settled('client', { takesLoad: true })
  const [first, second] = [victim.ask(), victim.ask()]
  await victim.send(
    reported(1),
    response(2, 200, { flags: 0 }),
    frame(TYPE.trailers, LOAD, 2, Buffer.concat([load, fields([['c', 'd']])])),
  )
  expect(victim.log).toEqual(['response 200 a=b end', 'response 200', 'trailers c=d'])
  const arrivedAt = victim.clock.now()
  expect([first.load, second.load]).toEqual([
    { ...REPORT, arrivedAt },
    { ...REPORT, arrivedAt },
  ])
})

test.each([
  ['a report from a client', 'server', frame(TYPE.trailers, LOAD, 1, Buffer.concat([load, fields([])]))],
  ['a report with a piece of the body', 'client', frame(TYPE.data, LOAD, 1, load)],
  ['a report that ends early', 'client', frame(TYPE.response, END | LOAD, 1, Buffer.from([0, 200, 0, 3, 0, 0]))],
] as const)('%s ends the connection', async (_what, side, bytes) => {
  const victim = await Victim.settled(side)
  if (side === 'client') victim.ask()
  else await victim.send(request(1, { flags: 0 }))
  await victim.send(bytes)
  expect(victim.broken).toBeDefined()
})
