import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Agent } from 'node:https'
import { connect } from 'node:net'
import { describe, expect, it } from 'vitest'
import { currentCall } from '../../../src/server/current-call.ts'
import { ask, clientOf, OneAtATime, pause, serve, serverStack, TRUSTING } from '../rig.ts'

type Handler = (request: IncomingMessage, response: ServerResponse) => unknown
const secret = new Error('secret of the house')
const fails = (how: string) => (): unknown => {
  if (how === 'throws') throw secret
  return Promise.reject(secret)
}

describe.each(['throws', 'rejects'])('user code of a request that %s', (how) => {
  const fail = fails(how)
  const places: [string, Handler | 'server'][] = [
    ['the handler', fail],
    ['a listener of a node:http server', 'server'],
    ["a listener of 'data'", (request) => void request.on('data', fail)],
    ["a listener of 'end'", (request) => void request.resume().on('end', fail)],
    ["a listener of 'pause'", (request) => void request.on('pause', fail).pause()],
  ]
  it.each(places)(
    '%s: is answered with 500 without the message, and the permit comes back',
    async (_where, handler) => {
      const limit = new OneAtATime()
      const { server, failures } = await serve(
        handler === 'server' ? createServer(fail) : handler,
        {},
        { stack: serverStack([limit]) },
      )
      const { status, body } = await ask(server.port, { method: 'POST', body: 'text' })
      expect(status).toBe(500)
      expect(body).not.toContain('secret')
      expect(failures).toEqual([secret])
      await expect.poll(() => limit.running).toBe(0)
    },
  )

  const late: [string, Handler][] = [
    ["a listener of 'finish'", (_request, response) => void response.on('finish', fail).end('done')],
    ["a listener of 'close'", (_request, response) => void response.on('close', fail).end('done')],
    ['the callback of the end', (_request, response) => void response.end('done', fail as () => void)],
  ]
  it.each(late)('%s: is reported, and the answer stands', async (_where, handler) => {
    const limit = new OneAtATime()
    const { server, failures } = await serve(handler, {}, { stack: serverStack([limit]) })
    expect(await ask(server.port)).toMatchObject({ status: 200, body: 'done' })
    await expect.poll(() => failures).toEqual([secret])
    await expect.poll(() => limit.running).toBe(0)
  })

  it('the callback of a write: cuts the answer', async () => {
    const { server, failures } = await serve((_request, response) => void response.write('part', fail as () => void))
    await expect(ask(server.port)).rejects.toThrow()
    expect(failures).toEqual([secret])
  })

  it.each(['writeContinue', 'writeProcessing', 'writeEarlyHints'] as const)(
    'the callback of %s: is answered with 500, and knows its request',
    async (name) => {
      let known = false
      const { server, failures } = await serve((_request, response) => {
        const call = currentCall()!.signal
        const done = (): unknown => {
          known = currentCall()?.signal === call
          return fail()
        }
        if (name === 'writeEarlyHints') response.writeEarlyHints({ link: '</a>; rel=preload' }, done as () => void)
        else response[name](done as never)
      })
      expect(await ask(server.port)).toMatchObject({ status: 500 })
      expect([failures, known]).toEqual([[secret], true])
    },
  )

  it('the callback of an end that came too late: harms nothing', async () => {
    let called = 0
    const late = (): unknown => {
      called += 1
      return fail()
    }
    const { server } = await serve(
      (_request, response) => {
        currentCall()!.signal.addEventListener('abort', () => {
          response.write('late', late as () => void)
          response.end(late as () => void)
        })
      },
      {},
      { stack: serverStack([], 30) },
    )
    expect(await ask(server.port)).toMatchObject({ status: 504 })
    await expect.poll(() => called).toBe(2)
    expect((await ask(server.port)).status).toBe(504)
  })

  it("a listener of 'aborted' or 'close' of a caller that has gone: harms nothing", async () => {
    const limit = new OneAtATime()
    const { server } = await serve(
      (request, response) => {
        for (const event of ['aborted', 'error', 'close']) request.on(event, fail)
        response.on('close', fail)
      },
      {},
      { stack: serverStack([limit]) },
    )
    const socket = connect(server.port, '127.0.0.1', () =>
      socket.write('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx'),
    )
    await expect.poll(() => limit.running).toBe(1)
    socket.destroy()
    await expect.poll(() => limit.running).toBe(0)
  })
})

it('survives a handler that answers twice, writes after the end, and ends what it has destroyed', async () => {
  const { server } = await serve(async (request, response) => {
    response.end(request.url)
    response.end('again')
    response.write('more')
    response.destroy()
    response.end()
  })
  for (const path of ['/1', '/2']) await ask(server.port, { path }).catch(() => undefined)
  expect(server.state).toBe('serving')
})

it('runs every listener in the context of its own request, on warm connections with two callers', async () => {
  const seen: string[] = []
  const { server } = await serve(
    (request, response) => {
      const own = currentCall()!.peer!.service!
      const note = (what: string) => () => seen.push(`${what}: ${own === currentCall()?.peer?.service}`)
      for (const event of ['data', 'end', 'close']) request.on(event, note(`request ${event}`))
      for (const event of ['finish', 'close', 'pipe']) response.on(event, note(`response ${event}`))
      response.write('part', note('written'))
      setTimeout(() => response.end('done', note('ended')), 5)
    },
    { mode: 'strict' },
  )
  const agents = ['one', 'two'].map(
    (name) => new Agent({ keepAlive: true, maxSockets: 1, ...clientOf(name), ...TRUSTING }),
  )
  for (let round = 0; round < 3; round++) {
    await Promise.all(
      agents.map((agent) => ask(server.port, { method: 'POST', body: 'text', agent, as: { key: '', cert: '' } })),
    )
    await pause(1)
  }
  for (const agent of agents) agent.destroy()
  expect(new Set(seen)).toEqual(
    new Set(
      ['request data', 'request end', 'request close', 'response finish', 'response close', 'written', 'ended'].map(
        (what) => `${what}: true`,
      ),
    ),
  )
})
