/** An authorizer decides at once or later, for HTTP and gRPC alike. */
import { once } from 'node:events'
import { connect } from 'node:net'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it, vi } from 'vitest'
import type { Authorizer, Decision, RequestHead } from '../../../src/server/authorization/authorizer.ts'
import type { InboundCall } from '../../../src/server/inbound-call.ts'
import { metadata, serveShop, shopClient } from '../grpc/rig.ts'
import { ask, clientOf, OneAtATime, type RecordedEvents, sendRaw, serve, serverStack } from '../rig.ts'

const ALLOWED: Decision = { allowed: true, rule: 'test' }
const DENIED: Decision = { allowed: false, rule: 'test' }

interface Result {
  /** Status of HTTP or gRPC. */
  readonly status: number
  readonly notExecuted: string | undefined
}

interface Protocol {
  readonly allowed: number
  readonly denied: number
  readonly late: number
  readonly drained: number
  /** Starts a server and returns how to call it. */
  start(authorizer: Authorizer, options?: { readonly stack?: ReturnType<typeof serverStack> }): Promise<Started>
}

interface Started {
  readonly server: { close(): Promise<unknown>; readonly stats: { readonly inFlight: number } }
  readonly events: RecordedEvents
  readonly failures: unknown[]
  /** How often the handler ran. */
  handled(): number
  call(deadlineMs?: number): { readonly result: Promise<Result>; cancel(): void }
}

const HTTP: Protocol = {
  allowed: 200,
  denied: 403,
  late: 504,
  drained: 503,
  start: async (authorizer, { stack = serverStack() } = {}) => {
    let handled = 0
    const { server, events, failures } = await serve(
      (_request, response) => {
        handled += 1
        response.end()
      },
      { mode: 'strict' },
      { authorizer, stack },
    )
    return {
      server,
      events,
      failures,
      handled: () => handled,
      call: (deadlineMs) => {
        const abort = new AbortController()
        const result = ask(server.port, {
          path: '/items/%62?q=1',
          headers: { 'x-plan': 'gold', ...(deadlineMs !== undefined && { 'inmesh-timeout-ms': String(deadlineMs) }) },
          as: clientOf('checkout'),
          signal: abort.signal,
        }).then(({ status, headers }) => ({
          status,
          notExecuted: headers['inmesh-not-executed'] as string | undefined,
        }))
        result.catch(() => {})
        return { result, cancel: () => abort.abort() }
      },
    }
  },
}

const GRPC: Protocol = {
  allowed: grpc.status.OK,
  denied: grpc.status.PERMISSION_DENIED,
  late: grpc.status.DEADLINE_EXCEEDED,
  drained: grpc.status.UNAVAILABLE,
  start: async (authorizer, { stack = serverStack() } = {}) => {
    let handled = 0
    const failures: unknown[] = []
    const { server, events } = await serveShop(
      {
        Get: (_call, answer) => {
          handled += 1
          answer(null, {})
        },
      },
      { mode: 'strict' },
      { authorizer, stack, onHandlerError: (error) => failures.push(error) },
    )
    const client = shopClient(server.port, clientOf('checkout'))
    return {
      server,
      events,
      failures,
      handled: () => handled,
      call: (deadlineMs) => {
        let cancel = (): void => {}
        const sent = metadata({
          'x-plan': 'gold',
          ...(deadlineMs !== undefined && { 'grpc-timeout': `${deadlineMs}m` }),
        })
        const result = new Promise<Result>((resolve) => {
          const call = client.get({ sku: '1' }, sent, (error) =>
            resolve({
              status: error?.code ?? grpc.status.OK,
              notExecuted: error?.metadata.get('inmesh-not-executed')[0] as string | undefined,
            }),
          )
          cancel = () => call.cancel()
        })
        return { result, cancel }
      },
    }
  },
}

/** Decisions that the test takes later. */
class Pending implements Authorizer {
  readonly asked: InboundCall[] = []
  readonly #decide: ((decision: Decision | Promise<Decision>) => void)[] = []

  authorize(call: InboundCall): Promise<Decision> {
    this.asked.push(call)
    return new Promise((resolve) => this.#decide.push(resolve))
  }

  decide(decision: Decision | Promise<Decision>): void {
    this.#decide.shift()!(decision)
  }

  async once(): Promise<InboundCall> {
    await expect.poll(() => this.asked.length).toBeGreaterThan(0)
    return this.asked[0]!
  }
}

describe.each([
  ['HTTP', HTTP],
  ['gRPC', GRPC],
])('an authorizer of %s', (name, protocol) => {
  it('sees the peer, the method, the path and the headers', async () => {
    const seen: [InboundCall, RequestHead][] = []
    const { call } = await protocol.start({
      authorize: (asked, head) => {
        seen.push([asked, head])
        return ALLOWED
      },
    })
    expect(await call().result).toMatchObject({ status: protocol.allowed })
    const [asked, head] = seen[0]!
    expect(asked.caller).toMatchObject({ spiffeId: 'spiffe://mesh.test/service/checkout', service: 'checkout' })
    expect(head.headers['x-plan']).toBe('gold')
    expect([head.method, head.path, head.target]).toEqual(
      name === 'HTTP' ? ['GET', '/items/b', '/items/b?q=1'] : ['POST', '/shop.Inventory/Get', '/shop.Inventory/Get'],
    )
  })

  it.each([
    ['at once', (decision: Decision) => decision],
    ['later', async (decision: Decision) => decision],
  ])('allows and denies %s, with the rule in the event', async (_when, give) => {
    let decision = ALLOWED
    const { call, handled, events } = await protocol.start({ authorize: () => give(decision) })
    expect((await call().result).status).toBe(protocol.allowed)
    decision = DENIED
    expect((await call().result).status).toBe(protocol.denied)
    expect(handled()).toBe(1)
    expect(events.of('intention:denied')).toMatchObject([{ peer: 'checkout', reason: 'test' }])
  })

  it.each([
    [
      'throws',
      () => {
        throw new Error('no database')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no database'))],
    ['decides nothing', () => undefined as never],
    ['decides nothing later', async () => 'yes' as never],
    [
      'returns a thenable that throws',
      () =>
        ({
          then: () => {
            throw new Error('no database')
          },
        }) as never,
    ],
  ])('denies if it %s, and the failure is reported', async (_what, fail) => {
    const { call, handled, events, failures, server } = await protocol.start({ authorize: fail })
    expect((await call().result).status).toBe(protocol.denied)
    expect(handled()).toBe(0)
    expect(failures).toHaveLength(1)
    expect(events.of('intention:denied')).toMatchObject([{ peer: 'checkout', reason: 'authorizer-failed' }])
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it("has the caller's deadline, after which the request is refused as not executed", async () => {
    const authorizer = new Pending()
    const { call, handled, server } = await protocol.start(authorizer)
    const { result } = call(50)
    const asked = await authorizer.once()
    expect(await result).toEqual({ status: protocol.late, notExecuted: 'deadline-exceeded' })
    expect(asked.signal.aborted).toBe(true)
    await expect.poll(() => server.stats.inFlight).toBe(0)
    authorizer.decide(ALLOWED)
    await new Promise(setImmediate)
    expect(handled()).toBe(0)
  })

  it('has the default timeout of the server without a deadline', async () => {
    const authorizer = new Pending()
    const { call } = await protocol.start(authorizer, { stack: serverStack([], 50) })
    expect(await call().result).toEqual({ status: protocol.late, notExecuted: 'deadline-exceeded' })
  })

  it('is cancelled when the caller leaves, and what it decides then starts nothing', async () => {
    const authorizer = new Pending()
    const { call, handled, server, failures, events } = await protocol.start(authorizer)
    const { cancel } = call()
    const asked = await authorizer.once()
    expect(server.stats.inFlight).toBe(1)
    const aborted = once(asked.signal, 'abort')
    cancel()
    await aborted
    await expect.poll(() => server.stats.inFlight).toBe(0)
    authorizer.decide(Promise.reject(new Error('stopped')))
    await new Promise(setImmediate)
    expect([handled(), failures, events.of('intention:denied')]).toEqual([0, [], []])
  })

  it('takes no permit while it decides', async () => {
    const authorizer = new Pending()
    const { call, handled } = await protocol.start(authorizer, { stack: serverStack([new OneAtATime()]) })
    const first = call()
    const second = call()
    await expect.poll(() => authorizer.asked.length).toBe(2)
    authorizer.decide(ALLOWED)
    authorizer.decide(ALLOWED)
    expect([(await first.result).status, (await second.result).status]).toContain(protocol.allowed)
    expect(handled()).toBeGreaterThan(0)
  })

  it('does not hold up a server that closes', async () => {
    const authorizer = new Pending()
    const { call, server, handled } = await protocol.start(authorizer)
    const { result } = call()
    const asked = await authorizer.once()
    const report = server.close()
    expect(await result).toEqual({ status: protocol.drained, notExecuted: 'closed' })
    expect(await report).toEqual({ finished: 0, cancelled: 1 })
    expect(asked.signal.aborted).toBe(true)
    expect(handled()).toBe(0)
  })
})

describe('a pending decision about one HTTP request', () => {
  const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nhost: inventory\r\n${more}\r\n`

  it('holds back the requests behind it on the connection, also if it is denied', async () => {
    const order: string[] = []
    const { server } = await serve(
      (request, response) => {
        order.push(request.url!)
        response.end(`<${request.url}>`)
      },
      {},
      {
        authorizer: {
          authorize: async (_call, { path }) => {
            order.push(`asked ${path}`)
            await new Promise((resolve) => setTimeout(resolve, 5))
            return path === '/2' ? DENIED : ALLOWED
          },
        },
      },
    )
    const text = await sendRaw(server.port, get('/1') + get('/2') + get('/3', 'connection: close\r\n'))
    expect(order).toEqual(['asked /1', '/1', 'asked /2', 'asked /3', '/3'])
    expect([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['200', '403', '200'])
  })

  it('leaves the body to the handler', async () => {
    const { server } = await serve(
      async (request, response) => {
        let body = ''
        for await (const part of request) body += part
        response.end(body)
      },
      {},
      { authorizer: { authorize: async () => ALLOWED } },
    )
    const body = 'x'.repeat(200_000)
    expect((await ask(server.port, { method: 'POST', body })).body).toBe(body)
  })

  it.each([
    ['allowed', ALLOWED, '101 Switching Protocols'],
    ['denied', DENIED, '403 Forbidden'],
  ])('ends an upgrade as %s', async (_what, decision, expected) => {
    const authorizer = new Pending()
    const { server } = await serve(
      () => {},
      { onUpgrade: (_request, socket) => void socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n') },
      { authorizer },
    )
    const answer = sendRaw(server.port, get('/', 'connection: upgrade\r\nupgrade: echo\r\n'))
    await authorizer.once()
    expect(server.stats.inFlight).toBe(1)
    authorizer.decide(decision)
    expect(await answer).toContain(expected)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('that never comes closes the socket of an upgrade', async () => {
    const authorizer = new Pending()
    const upgrade = vi.fn()
    const { server } = await serve(() => {}, { onUpgrade: upgrade }, { authorizer, stack: serverStack([], 50) })
    expect(await sendRaw(server.port, get('/', 'connection: upgrade\r\nupgrade: echo\r\n'))).toContain('504')
    expect(upgrade).not.toHaveBeenCalled()
    await expect.poll(() => server.stats.connections).toBe(0)
  })

  it('ends with the connection that was reset', async () => {
    const authorizer = new Pending()
    const { server } = await serve(() => {}, { onUpgrade: () => {} }, { authorizer })
    const socket = connect(server.port, '127.0.0.1', () =>
      socket.write(get('/', 'connection: upgrade\r\nupgrade: echo\r\n')),
    )
    const { signal } = await authorizer.once()
    socket.resetAndDestroy()
    await expect.poll(() => signal.aborted).toBe(true)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })
})
