/** What a hostile or unlucky client does on streams of `inmesh/1` harms no other call. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { MUX_DEFAULTS } from '../../../src/mux/settings.ts'
import { RESET } from '../../../src/mux/wire.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { MuxClient, StreamReset } from '../../rigs/mux-client.ts'
import { OneAtATime, serve, serverStack } from '../rig.ts'

const MUX = { transport: 'auto' } as const

async function open(port: number, settings = MUX_DEFAULTS): Promise<MuxClient> {
  const client = await MuxClient.open(port, undefined, settings)
  onTestFinished(() => client.close())
  return client
}

describe('cancelling', () => {
  it('10,000 calls, each after its handler has begun, leaves nothing behind and costs no connection', async () => {
    let closed = 0
    const { server, failures } = await serve(
      (_request, response) => void response.on('close', () => (closed += 1)),
      {},
      MUX,
    )
    const client = await open(server.port)
    for (let batch = 0; batch < 20; batch++) {
      const answers = Array.from({ length: 500 }, () => client.ask())
      await expect.poll(() => server.stats.inFlight, { interval: 2, timeout: 15_000 }).toBe(500)
      // Younger streams would be taken for a flood.
      await sleep(110)
      for (const answer of answers) client.cancel(answer)
      await expect.poll(() => server.stats.inFlight, { interval: 2, timeout: 15_000 }).toBe(0)
    }
    expect([closed, client.goAway, failures]).toEqual([10_000, undefined, []])
    const last = client.ask()
    await expect.poll(() => server.stats.inFlight).toBe(1)
    client.cancel(last)
    await expect.poll(() => client.session.open).toBe(0)
  })

  it('before the handler answers aborts its signal, and gives its permit back', async () => {
    const limit = new OneAtATime()
    const reasons: unknown[] = []
    const { server } = await serve(
      () => {
        const { signal } = currentCall()!
        signal.addEventListener('abort', () => reasons.push((signal.reason as { code: string }).code))
      },
      {},
      { ...MUX, stack: serverStack([limit]) },
    )
    const client = await open(server.port)
    for (let i = 1; i <= 5; i++) {
      const answer = client.ask()
      await expect.poll(() => limit.running).toBe(1)
      client.cancel(answer)
      await expect.poll(() => reasons.length).toBe(i)
      await expect.poll(() => limit.running).toBe(0)
    }
    expect(new Set(reasons)).toEqual(new Set(['cancelled']))
  })

  it('at once, thousands of times, ends the connection as a flood', async () => {
    const { server, events } = await serve((request, response) => void (request.url === '/' || response.end()), {}, MUX)
    const client = await open(server.port)
    for (let i = 0; i < 5_000 && client.session.room > 0; i++) {
      client.cancel(client.ask())
      if (i % 100 === 0) await sleep(1)
    }
    await client.ended.promise
    expect(events.of('peer:refused')).toMatchObject([{ side: 'server', reason: 'rapid-reset' }])
    expect((await (await open(server.port)).ask({ path: '/served' }).done).status).toBe(200)
  })
})

describe('bodies', () => {
  it('of 50 MB arrive while the handler is slow, within the window, beside short calls', async () => {
    let most = 0
    const { server } = await serve(
      async (request, response) => {
        if (request.url === '/short') return response.end('short')
        let bytes = 0
        for await (const part of request) {
          bytes += (part as Buffer).length
          most = Math.max(most, request.readableLength)
          if (bytes % 1_000_000 < 20_000) await sleep(1)
        }
        return response.end(String(bytes))
      },
      {},
      MUX,
    )
    const client = await open(server.port)
    const part = Buffer.alloc(1_000_000, 'x')
    const answer = client.ask({ method: 'POST', path: '/large', open: true })
    for (let sent = 0; sent < 50; sent++) {
      const drained = new Promise<void>((resolve) => {
        answer.onDrained = resolve
      })
      if (!answer.stream.write(part)) await drained
      expect((await client.ask({ path: '/short' }).done).body).toBe('short')
    }
    answer.stream.end()
    expect((await answer.done).body).toBe('50000000')
    expect(most).toBeLessThanOrEqual(MUX_DEFAULTS.streamWindow)
  })

  it('that nobody reads are discarded after the answer, and a client that sends on is stopped', async () => {
    const { server } = await serve((_request, response) => void response.end('no, thanks'), {}, MUX)
    const client = await open(server.port)
    const whole = client.ask({ method: 'POST', body: Buffer.alloc(3_000_000) })
    expect((await whole.done).body).toBe('no, thanks')
    await expect.poll(() => client.session.open).toBe(0)
    const endless = client.ask({ method: 'POST', open: true })
    endless.stream.write('some')
    expect((await endless.done).body).toBe('no, thanks')
    await expect.poll(() => endless.lateReset?.code).toBe(RESET.NO_ERROR)
    expect(client.session.open).toBe(0)
  })

  it('of other lengths than their heads say never reach a handler as whole', async () => {
    const seen: string[] = []
    const { server } = await serve(
      (request, response) => {
        request.on('error', () => seen.push('error')).on('end', () => seen.push('end'))
        request.resume().on('end', () => response.end())
      },
      {},
      MUX,
    )
    for (const [length, body] of [
      ['9', 'short'],
      ['2', 'long'],
    ] as const) {
      const client = await open(server.port)
      const answer = client.ask({ method: 'POST', headers: { 'content-length': length }, open: true })
      await expect.poll(() => server.stats.inFlight).toBe(1)
      answer.stream.write(body)
      answer.stream.end()
      await expect(answer.done).rejects.toThrow()
      await expect.poll(() => server.stats.inFlight).toBe(0)
    }
    expect(seen).not.toContain('end')
  })

  it('that a slow reader leaves unread wait in the handler, not in memory', async () => {
    let written = 0
    const { server } = await serve(
      async (_request, response) => {
        const part = Buffer.alloc(65_536)
        while (!response.destroyed) {
          written += part.length
          if (!response.write(part))
            await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
        }
      },
      {},
      MUX,
    )
    const client = await open(server.port)
    const answer = await client.ask({ reads: false }).head
    await expect.poll(() => answer.unread).toBeGreaterThan(200_000)
    await sleep(50)
    expect(answer.unread).toBeLessThanOrEqual(MUX_DEFAULTS.streamWindow)
    expect(written).toBeLessThan(MUX_DEFAULTS.streamWindow + 300_000)
    // Others are served meanwhile, and it goes on once something is read.
    answer.stream.read(answer.unread)
    const before = answer.unread
    await expect.poll(() => answer.unread).toBeGreaterThan(before)
    client.cancel(answer)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })
})

describe('a client that goes away', () => {
  it.each<[string, (request: IncomingMessage, response: ServerResponse) => void]>([
    ['before the answer', () => {}],
    ['within the answer', (_request, response) => void response.write('part')],
    ['within its body', (request) => void request.resume()],
  ])('%s: every call ends, with its listeners and timers', async (_when, handler) => {
    const sockets: { listenerCount(event: string): number; destroyed: boolean }[] = []
    const { server, failures } = await serve(
      (request, response) => {
        request.socket.setTimeout(60_000)
        sockets.push(request.socket)
        handler(request, response)
      },
      {},
      MUX,
    )
    const client = await open(server.port)
    for (let i = 0; i < 50; i++) client.ask({ method: 'POST', open: true }).stream.write('x')
    await expect.poll(() => server.stats.inFlight).toBe(50)
    client.socket.destroy()
    await expect.poll(() => server.stats).toMatchObject({ inFlight: 0, connections: 0 })
    expect(failures).toEqual([])
    expect(sockets.every(({ destroyed }) => destroyed)).toBe(true)
  })

  it('by half closing loses its calls, as it could neither credit nor be answered', async () => {
    const { server } = await serve(() => {}, {}, MUX)
    const socket = connect(server.port, '127.0.0.1', () => socket.end('\0inmesh/1'))
    socket.on('error', () => {}).resume()
    await new Promise((resolve) => socket.once('close', resolve))
    await expect.poll(() => server.stats.connections).toBe(0)
  })
})

it('a request of one packet never sees what another has put into the async context', async () => {
  const { AsyncLocalStorage } = await import('node:async_hooks')
  const tenant = new AsyncLocalStorage<string>()
  const seen: unknown[] = []
  const { server } = await serve(
    (request, response) => {
      seen.push([tenant.getStore(), currentCall()?.method])
      tenant.enterWith(request.url!)
      setTimeout(() => response.end(String(tenant.getStore() === request.url)), 2)
    },
    {},
    MUX,
  )
  const client = await open(server.port)
  const answers = ['/a', '/b', '/c'].map((path) => client.ask({ path }))
  for (const answer of answers) expect((await answer.done).body).toBe('true')
  expect(seen).toEqual(Array.from({ length: 3 }, () => [undefined, 'GET']))
})

it('a head that HTTP/1.1 would not take is refused, and the connection stays', async () => {
  let ran = 0
  const { server } = await serve((_request, response) => void response.end(String(++ran)), {}, MUX)
  const client = await open(server.port)
  const asked = async (what: Parameters<MuxClient['ask']>[0]): Promise<number | undefined> =>
    client.ask(what).done.then(
      ({ status }) => status,
      (error: unknown) => (error instanceof StreamReset ? error.reset.code : undefined),
    )
  expect(await asked({ path: '/a/%2e%2e/b' })).toBe(400)
  expect(await asked({ headers: { host: 'a,b' } })).toBe(400)
  expect(await asked({ method: 'BREW' })).toBe(400)
  expect(await asked({ headers: { 'inmesh-timeout-ms': '-5' } })).toBe(400)
  expect(ran).toBe(0)
  expect(await asked({})).toBe(200)
})

it.each<[string, (response: ServerResponse) => void, number]>([
  ['a head of 62 KB', (response) => void response.setHeader('x', 'y'.repeat(62_000)).end('x'), RESET.HEAD_TOO_LARGE],
  [
    'a head of 62 KB in a later turn',
    (response) => void response.setHeader('x', 'y'.repeat(62_000)).write('x'),
    RESET.HEAD_TOO_LARGE,
  ],
  ['a name of 300 letters', (response) => void response.setHeader('x'.repeat(300), 'y').end('x'), RESET.INTERNAL_ERROR],
  [
    'trailers of 62 KB',
    (response) => {
      response.write('x')
      response.addTrailers({ x: 'y'.repeat(62_000) })
      response.end()
    },
    RESET.HEAD_TOO_LARGE,
  ],
])('%s fails its handler, and nothing else', async (_what, answer, code) => {
  const { server, failures } = await serve(
    (request, response) => (request.url === '/' ? answer(response) : void response.end('well')),
    {},
    MUX,
  )
  const client = await open(server.port)
  const beside = client.ask({ path: '/beside' })
  await expect(client.ask().done).rejects.toMatchObject({ reset: { code } })
  expect((await beside.done).body).toBe('well')
  expect(failures).toHaveLength(1)
  await expect.poll(() => server.stats.inFlight).toBe(0)
})

describe('an answer that no frame may carry', () => {
  const LONG = 'x'.repeat(300)
  it.each<[string, (response: ServerResponse) => unknown, RegExp]>([
    ['an informational status as the last', (s) => s.writeHead(103).end(), /status 103/],
    ['one that is flushed', (s) => s.writeHead(100).flushHeaders(), /status 100/],
    [
      'trailers with a name that is too long',
      (s) => {
        s.write('a')
        s.addTrailers({ [LONG]: 'b' })
        s.end()
      },
      /name/,
    ],
  ])('%s, is cut off at once and reported, and other calls go on', async (_what, answer, why) => {
    const { server, failures } = await serve((q, s) => (q.url === '/' ? answer(s) : s.end('ok')), {}, MUX)
    const client = await open(server.port)
    const other = client.ask({ path: '/other' })
    await expect(client.ask().done).rejects.toMatchObject({ reset: { code: RESET.INTERNAL_ERROR } })
    expect((await other.done).body).toBe('ok')
    expect(failures).toHaveLength(1)
    expect(String(failures[0])).toMatch(why)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })
})
