import { describe, expect, test } from 'vitest'
import {
  ACK,
  data,
  END,
  frame,
  goAway,
  PREFACE,
  ping,
  request,
  reset,
  response,
  settings,
  TYPE,
  trailers,
  window,
} from './raw-mux.ts'
import { Victim } from './victim.ts'

/** Sends `next(i)` until the connection ends, at most `most` times; how often that was. */
async function flood(victim: Victim, most: number, next: (i: number) => Buffer): Promise<number> {
  for (let i = 0; i < most; i += 100) {
    await victim.send(...Array.from({ length: 100 }, (_, n) => next(i + n)))
    victim.sent()
    if (victim.broken !== undefined) return i + 100
  }
  return most
}

describe('the beginning', () => {
  test.each<[string, readonly Buffer[]]>([
    ['another preface', [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
    ['a request before SETTINGS', [PREFACE, request(1)]],
    ['SETTINGS with a piece too much', [PREFACE, frame(TYPE.settings, 0, 0, Buffer.alloc(7))]],
    ['SETTINGS without windows', [PREFACE, frame(TYPE.settings, 0, 0)]],
    ['SETTINGS on a stream', [PREFACE, frame(TYPE.settings, 0, 1, settings().subarray(9))]],
    ['a window beyond 2^31-1', [PREFACE, settings(1, 2 ** 31)]],
    ['a window smaller than a frame', [PREFACE, settings(1, 1_000)]],
    ['SETTINGS twice', [PREFACE, settings(), settings()]],
  ])('%s ends the connection', async (_what, frames) => {
    const victim = new Victim('server')
    await victim.send(...frames)
    expect(victim.broken).not.toBe(undefined)
    expect(victim.streams).toEqual([])
    expect(victim.socket.writableEnded || victim.socket.destroyed).toBe(true)
  })

  test('a peer that says nothing is not waited for', async () => {
    const victim = new Victim('server', { firstFrameMs: 1_000 })
    await victim.send(PREFACE)
    victim.clock.advance(1_000)
    victim.session.tick(victim.clock.now())
    expect(victim.socket.destroyed).toBe(true)
  })

  test('a frame that never completes is not waited for', async () => {
    const victim = await Victim.settled('server', { pingAfterMs: 1e9 })
    await victim.send(request(1).subarray(0, 12))
    for (let second = 0; second < 12; second++) {
      victim.clock.advance(1_000)
      await victim.send(Buffer.alloc(0))
      victim.session.tick(victim.clock.now())
    }
    expect(victim.socket.destroyed).toBe(true)
  })
})

describe('what has been answered', () => {
  test.each<[string, Buffer]>([
    ['RESET', reset(1, 2)],
    ['GOAWAY', goAway(0)],
  ])('was executed, though a %s says otherwise', async (_what, bytes) => {
    const victim = await Victim.settled('client')
    victim.ask()
    await victim.send(response(1, 200, { flags: 0 }), bytes)
    expect(victim.log).toContain('reset 3: ')
  })
})

test.each(['client', 'server'] as const)('a %s closes when its peer ends the connection by an error', async (side) => {
  for (const [code, closes] of [
    [0, false],
    [1, true],
    [3, true],
    [4, false],
    [99, true],
  ] as const) {
    const victim = await Victim.settled(side)
    if (side === 'client') victim.ask()
    else await victim.send(request(1))
    await victim.send(goAway(1, code, 'why'))
    expect([code, victim.socket.destroyed]).toEqual([code, closes])
    if (closes) expect(victim.log.at(-2)).toMatch(/^reset undefined.*: why$/)
  }
})

describe('frames that no peer sends', () => {
  test.each<[string, Buffer]>([
    ['longer than allowed', frame(TYPE.data, 0, 1, Buffer.alloc(0), 16_385)],
    ['of an unknown type', frame(77, 0, 1)],
    ['DATA of no stream', data(0, 'a')],
    ['DATA of a stream that was never opened', data(7, 'a')],
    ['a request on stream 0', request(0)],
    ['a request on a stream beyond 2^31-1', request(2 ** 31)],
    ['a request on a former stream', Buffer.concat([request(5), request(3)])],
    ['a request twice on a stream', Buffer.concat([request(1, { flags: 0 }), request(1)])],
    ['a response to a server', response(1, 200)],
    ['data after the end', Buffer.concat([request(1), data(1, 'a')])],
    ['trailers after the end', Buffer.concat([request(1), trailers(1)])],
    ['an empty RESET', frame(TYPE.reset, 0, 1)],
    ['RESET of no stream', reset(0)],
    ['RESET of a stream that was never opened', reset(9)],
    ['WINDOW for a stream that was never opened', window(9, 1)],
    ['a short WINDOW', frame(TYPE.window, 0, 0, Buffer.alloc(3))],
    ['WINDOW of 0', window(0, 0)],
    ['WINDOW beyond 2^31-1', Buffer.concat([window(0, 2 ** 31 - 1), window(0, 1)])],
    ['WINDOW of a stream beyond 2^31-1', Buffer.concat([request(1, { flags: 0 }), window(1, 2 ** 31 - 1)])],
    ['a short PING', ping('1234')],
    ['PING on a stream', frame(TYPE.ping, 0, 1, Buffer.alloc(8))],
    ['a short GOAWAY', frame(TYPE.goAway, 0, 0, Buffer.alloc(4))],
    ['GOAWAY on a stream', frame(TYPE.goAway, 0, 1, Buffer.alloc(5))],
    ['an unknown flag of DATA', data(1, 'a', 128)],
  ])('%s ends the connection with a reason', async (_what, bytes) => {
    const victim = await Victim.settled('server')
    await victim.send(request(1, { flags: 0 }).subarray(0, 0), bytes)
    expect(victim.broken).toMatch(/\w/)
    expect(victim.said().at(-1)).toBe(`goAway ${/window|WINDOW/i.test(victim.broken!) ? 2 : 1}: ${victim.broken}`)
    const before = victim.log.length
    await victim.send(request(101))
    expect(victim.log.length).toBe(before)
  })

  test('a GOAWAY that names a later stream than the one before ends the connection', async () => {
    const victim = await Victim.settled('client')
    victim.ask()
    await victim.send(goAway(1), goAway(2))
    expect(victim.broken).not.toBe(undefined)
  })
})

describe('streams', () => {
  test('beyond the limit are refused as not executed', async () => {
    const victim = await Victim.settled('server', { maxStreams: 2 })
    await victim.send(request(1), request(2), request(3, { body: 'abc' }))
    expect(victim.streams.length).toBe(2)
    expect(victim.said()).toEqual(['reset 3 2: too many streams'])
  })

  test('reset as soon as they are opened end the connection', async () => {
    const victim = await Victim.settled('server')
    const sent = await flood(victim, 20_000, (i) => Buffer.concat([request(i + 1), reset(i + 1)]))
    expect(victim.broken).toBe('rapid-reset')
    expect(sent).toBeLessThanOrEqual(1_200)
    expect(victim.session.open).toBe(0)
  })

  test('that the peer makes us reset count as those that it resets', async () => {
    const victim = await Victim.settled('server')
    const wrong = [['a', '\n']] as const
    expect(await flood(victim, 20_000, (i) => request(i + 1, { headers: wrong }))).toBeLessThanOrEqual(1_200)
    expect(victim.broken).toBe('rapid-reset')
  })

  test('refused beyond the limit count, too', async () => {
    const victim = await Victim.settled('server', { maxStreams: 1 })
    expect(await flood(victim, 20_000, (i) => request(i + 1))).toBeLessThanOrEqual(1_200)
  })

  test('cancelled by a busy client that is also served do not', async () => {
    const victim = await Victim.settled('server')
    victim.serve = (stream) => {
      if (stream.id % 2 === 0) stream.respond(200, '', [], undefined, true)
    }
    await flood(victim, 20_000, (i) => Buffer.concat([request(i + 1), ...(i % 2 === 0 ? [reset(i + 1)] : [])]))
    expect(victim.broken).toBe(undefined)
  })
})

describe('floods', () => {
  test.each<[string, (i: number) => Buffer, number]>([
    ['PING', () => ping(), 1_100],
    ['answers to no PING', () => ping('12345678', ACK), 10_100],
    ['WINDOW of one byte', () => window(0, 1), 10_100],
    ['empty DATA', () => data(1), 10_100],
    ['RESET of a closed stream', () => reset(2), 10_100],
    ['WINDOW of a closed stream', () => window(2, 1), 10_100],
    ['GOAWAY', () => goAway(0), 10_100],
    ['DATA of a closed stream', () => data(2, 'a'), 10_100],
  ])('of %s end the connection', async (_what, next, most) => {
    const victim = await Victim.settled('server', { connectionWindow: 2 ** 31 - 1 })
    await victim.send(request(1, { method: 'POST', flags: 0 }), request(2, { flags: 0 }), reset(2))
    expect(await flood(victim, 30_000, next)).toBeLessThanOrEqual(most)
    expect(victim.broken).toMatch(/flood/)
  })

  test('of informational heads end the connection', async () => {
    const victim = await Victim.settled('client')
    victim.ask()
    await flood(victim, 30_000, () => response(1, 103, { flags: 0 }))
    expect(victim.broken).toBe('frame-flood')
  })

  test('are forgotten with time', async () => {
    const victim = await Victim.settled('server')
    for (let i = 0; i < 50; i++) {
      await flood(victim, 400, () => ping())
      victim.clock.advance(10_000)
      victim.session.tick(victim.clock.now())
    }
    expect(victim.broken).toBe(undefined)
  })

  test('of frames that ours have caused are none', async () => {
    const victim = await Victim.settled('server', {}, settings(10, 2 ** 30, 2 ** 30))
    await victim.send(request(1))
    victim.serve = () => {}
    victim.streams[0]!.respond(200, '', [], undefined, false)
    for (let i = 0; i < 12_000; i++) {
      victim.streams[0]!.write('a')
      await victim.send(window(1, 100), window(0, 100))
      if (i % 100 === 0) victim.sent()
    }
    expect(victim.broken).toBe(undefined)
  })
})

describe('a peer that does not read', () => {
  test('gets no more than a bounded backlog', async () => {
    const victim = await Victim.settled('server', {}, settings(100, 2 ** 30, 2 ** 30))
    const body = Buffer.alloc(60_000)
    victim.serve = (stream) => stream.respond(200, '', [], body, true)
    for (let i = 0; i < 3_000; i++) await victim.send(request(i + 1))
    // Heads and data that were written; what is not yet framed is the application's.
    expect(victim.socket.waiting + victim.socket.writableLength).toBeLessThan(1_000_000)
  })

  test('is not read while too much waits for it, and goes on when it has taken it', async () => {
    const victim = await Victim.settled('server')
    const headers = Array.from({ length: 20 }, (_, i) => [`x-${i}`, 'v'.repeat(500)]).flat()
    victim.serve = (stream) => stream.respond(200, '', headers, undefined, true)
    let sent = 0
    while (!victim.socket.isPaused() && sent < 1_000) {
      sent += 1
      await victim.send(request(sent))
    }
    expect(sent).toBeLessThan(150)
    expect(victim.session.backlog).toBeLessThan(1_200_000)
    expect(victim.sent().length).toBe(sent)
    await victim.send()
    expect(victim.socket.isPaused()).toBe(false)
  })

  test('ends when nothing has left for long', async () => {
    const victim = await Victim.settled('server')
    victim.serve = (stream) => stream.respond(200, '', [], 'a', true)
    await victim.send(request(1))
    for (let second = 0; second < 40; second++) {
      victim.clock.advance(1_000)
      await victim.send(ping('inmesh/1', second % 10 === 0 ? 0 : ACK))
      victim.session.tick(victim.clock.now())
    }
    expect(victim.socket.destroyed).toBe(true)
  })

  test('ends in time after a flood, too', async () => {
    const victim = await Victim.settled('server')
    await victim.send(frame(77, 0, 0))
    expect(victim.broken).not.toBe(undefined)
    victim.clock.advance(2_000)
    victim.session.tick(victim.clock.now())
    expect(victim.socket.destroyed).toBe(true)
  })
})

test('unread frames of one byte are held back as if each had a hundred', async () => {
  const victim = await Victim.settled('server')
  await victim.send(request(1, { method: 'POST', flags: 0 }))
  const sent = await flood(victim, 300_000, () => data(1, 'a'))
  expect(victim.broken).toMatch(/window/)
  expect(sent).toBeLessThan(5_000)
})

test('a frame in pieces is kept once, and no longer than it may be', async () => {
  const victim = await Victim.settled('server')
  const whole = Buffer.concat([request(1, { method: 'POST', flags: 0 }), data(1, Buffer.alloc(16_384, 7), END)])
  for (const byte of whole) victim.session.receive(Buffer.from([byte]))
  await victim.send()
  expect(victim.log.slice(1)).toEqual(['data 16384 end'])
})
