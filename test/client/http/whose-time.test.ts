import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { request } from 'undici'
import { afterEach, describe, expect, it } from 'vitest'
import { Call, type CallKind } from '../../../src/core/call.ts'
import { serving } from '../../../src/core/context.ts'
import { isMeshError, MeshError } from '../../../src/core/errors.ts'
import { classify } from '../../../src/resilience/classification.ts'
import { TypicalLatency } from '../../../src/resilience/typical-latency.ts'
import { type Mesh, startTestMesh } from '../../../src/testing/index.ts'
import { makeRig, type Rig, type RigOptions } from './rig.ts'

let server: Server | undefined
let rig: Rig | undefined

afterEach(() => {
  rig?.close()
  server?.closeAllConnections()
  server?.close()
})

async function serve(listener: RequestListener, options: RigOptions = {}): Promise<Rig> {
  server = createServer((req, res) => {
    req.on('error', () => undefined)
    listener(req, res)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  rig = await makeRig([(server.address() as AddressInfo).port], { retry: { attempts: 1 }, ...options })
  return rig
}

/** Whom the attempts and the call are held against. */
function blamed({ attempts, calls }: Rig): string[] {
  return [...attempts.outcomes, ...calls.outcomes].map(classify)
}

async function failure(promise: Promise<unknown>): Promise<MeshError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  if (!isMeshError(error)) throw new Error(`expected a MeshError, got ${String(error)}`)
  return error
}

/** Never gives a further chunk. */
async function* stalls(): AsyncGenerator<string> {
  yield 'a'
  await new Promise<never>(() => undefined)
}

const SERVED: CallKind = { service: 'checkout', method: 'GET', protocol: 'http', streaming: false, idempotent: true }
const silent: RequestListener = (req) => req.resume()
const big = Buffer.alloc(8_000_000, 'x')

describe('a call that runs out of time', () => {
  it('while its own source has nothing to send is the caller’s, and says so', async () => {
    const { http } = await serve(silent, { timeoutMs: 700, typicalLatency: quick() })
    const error = await failure(http.post('/', stalls()))
    expect([error.code, (error.cause as Error).message]).toEqual([
      'deadline-exceeded',
      'the source of the request body had nothing to send',
    ])
    expect(blamed(rig!)).toEqual(['none', 'none'])
  })

  it('after a whole upload is the peer’s', async () => {
    const { http } = await serve(silent, { timeoutMs: 300 })
    const whole = (async function* () {
      yield 'a'
      yield 'b'
    })()
    expect((await failure(http.post('/', whole))).code).toBe('deadline-exceeded')
    expect(blamed(rig!)).toEqual(['hard', 'hard'])
  })

  it('because the peer does not take what is sent is the peer’s', async () => {
    const { http } = await serve((req) => req.pause(), { timeoutMs: 500 })
    const endless = (async function* () {
      for (;;) yield big.subarray(0, 65_536)
    })()
    expect((await failure(http.post('/', endless))).code).toBe('deadline-exceeded')
    expect(blamed(rig!)).toEqual(['hard', 'hard'])
  })

  it('because its answer is not read is the caller’s, read slowly or not at all', async () => {
    const { http } = await serve((_req, res) => res.end(big), { timeoutMs: 400, typicalLatency: quick() })
    const answer = await http.get('/')
    const reader = answer.body.getReader()
    await reader.read()
    await until(() => rig!.calls.outcomes.length === 1)
    expect(blamed(rig!)).toEqual(['none', 'none'])
    const error = await failure(drain(reader))
    expect([error.code, (error.cause as Error).message]).toEqual([
      'deadline-exceeded',
      'nobody read the answer as fast as it came',
    ])
  })

  it('because the rest of its answer does not come is the peer’s', async () => {
    const begins: RequestListener = (_req, res) => void res.writeHead(200, { 'content-length': 9_000_000 }).write(big)
    const { http } = await serve(begins, { timeoutMs: 400 })
    const answer = await http.get('/')
    expect((await failure(answer.bytes())).code).toBe('deadline-exceeded')
    expect(blamed(rig!)).toEqual(['hard', 'hard'])
  })

  it('at a bound of its own below what is usual is the caller’s; far above it, the peer’s', async () => {
    const { http } = await serve(silent, { typicalLatency: usually(300) })
    expect((await failure(http.get('/', { timeout: 100 }))).code).toBe('deadline-exceeded')
    expect(blamed(rig!)).toEqual(['none', 'none'])
    rig!.attempts.outcomes.length = rig!.calls.outcomes.length = 0
    expect((await failure(http.get('/', { timeout: 1_000 }))).code).toBe('deadline-exceeded')
    expect(blamed(rig!)).toEqual(['hard', 'hard'])
  })

  it('is judged alike when the request that it serves is told first', async () => {
    const { http } = await serve(silent, { typicalLatency: usually(150) })
    // Opens the connection.
    await http.get('/', { timeout: 200 }).catch(() => undefined)
    for (const [ms, whom] of [
      [20, 'none'],
      [900, 'hard'],
    ] as const) {
      const inbound = new Call(SERVED, performance.now(), performance.now() + ms, undefined)
      const passed = new MeshError('the deadline of this call passed', { code: 'deadline-exceeded' })
      setTimeout(() => inbound.cancel(passed), ms - 4)
      await failure(serving(inbound, () => http.get('/')))
      expect([ms, rig!.attempts.outcomes.map(classify).at(-1)]).toEqual([ms, whom])
    }
    const early = new Call(SERVED, performance.now(), performance.now() + 5_000, undefined)
    setTimeout(() => early.cancel(new MeshError('a bound of its own', { code: 'deadline-exceeded' })), 300)
    expect((await failure(serving(early, () => http.get('/')))).code).toBe('cancelled')
    expect(rig!.attempts.outcomes.map(classify).at(-1)).toBe('none')
  })

  it('is judged alike when the callee is the first to say so (504)', async () => {
    const { http } = await serve((_req, res) => setTimeout(() => res.writeHead(504).end(), 195), {
      typicalLatency: usually(300),
    })
    const ends = await Promise.all(
      [1, 2, 3].map(() => http.get('/', { timeout: 200 }).catch((error: unknown) => error)),
    )
    expect(ends).toHaveLength(3)
    expect(new Set(blamed(rig!))).toEqual(new Set(['none']))
    expect((await http.get('/', { timeout: 4_000 })).status).toBe(504)
    expect(blamed(rig!).at(-1)).toBe('hard')
  })
})

describe('a peer that has waited for the caller', () => {
  it('may say so (408, 504) or hang up without being blamed', async () => {
    const { http } = await serve((req, res) => {
      if (req.url === '/fine') res.end()
      else if (req.url === '/hang-up') setTimeout(() => req.socket.destroy(), 1_000)
      else setTimeout(() => res.writeHead(Number(req.url!.slice(1))).end(), 100)
    })
    expect((await http.post('/408', stalls())).status).toBe(408)
    expect((await http.post('/504', stalls())).status).toBe(504)
    // To connect is no wait for the caller.
    expect((await http.get('/fine')).status).toBe(200)
    expect((await failure(http.post('/hang-up', stalls()))).code).toBe('connection-lost')
    expect(blamed(rig!)).not.toContain('hard')
  })

  it('is blamed for hanging up in the midst of a quick upload', async () => {
    const { http } = await serve((req) => req.once('data', () => req.socket.destroy()))
    expect((await failure(http.post('/', stalls()))).code).toBe('connection-lost')
    expect(blamed(rig!)).toEqual(['hard', 'hard'])
  })
})

describe('a stream of events', () => {
  it('that its caller did not declare ends at the deadline, which says nothing of the service', async () => {
    const { http } = await serve(
      (_req, res) => void res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n'),
      { timeoutMs: 600, typicalLatency: quick() },
    )
    const answer = await http.get('/')
    expect((await failure(answer.text())).code).toBe('deadline-exceeded')
    expect(blamed(rig!)).toEqual(['none', 'none'])
    expect(rig!.endpoint.oldest).toBeUndefined()
  })
})

describe('the breaker that all share', () => {
  const doors: Record<string, (caller: Mesh, timeout: number) => Promise<unknown>> = {
    http: (caller, timeout) => caller.http('inventory').get('/', { timeout }),
    fetch: (caller, timeout) => caller.fetch('http://inventory/', { timeout }),
    'an inherited deadline': (caller, timeout) => within(timeout, () => caller.http('inventory').get('/')),
    'a dispatcher with an inherited deadline': (caller, timeout) =>
      within(timeout, () => request('http://inventory.mesh/', { dispatcher: caller.dispatcher() })),
  }
  const policies = [
    { service: 'inventory', timeout: '2s', retry: { attempts: 1 }, circuitBreaker: { minimumCalls: 8 } },
  ]

  it.each(Object.entries(doors))('is not opened by an impatient caller, and is by a hang: %s', async (_, call) => {
    const test = await startTestMesh({ policies })
    try {
      let answer = true
      await test.serve('inventory', (req, res) => {
        req.resume()
        setTimeout(() => answer && res.end('fine'), 60)
      })
      const caller = await test.join('checkout')
      const patient = () => caller.http('inventory').get('/')
      for (let i = 0; i < 3; i++) await patient()
      await Promise.all(Array.from({ length: 25 }, () => call(caller, 15).catch(() => undefined)))
      expect((await patient()).status).toBe(200)
      answer = false
      // Nearly all that the policy allows, whatever the answers before took.
      await Promise.all(Array.from({ length: 12 }, () => call(caller, 1_900).catch(() => undefined)))
      expect((await failure(patient())).code).toBe('circuit-open')
    } finally {
      await test.close()
    }
  })
})

/** As a request that is being served and whose caller waits for `ms`. */
function within<T>(ms: number, work: () => Promise<T>): Promise<T> {
  const now = performance.now()
  return serving(new Call(SERVED, now, now + ms, undefined), work)
}

describe('the caller’s own mistake', () => {
  const mistakes: Record<string, () => [body: AsyncIterable<never>, headers?: Record<string, string>]> = {
    'a declared length that is too long': () => [of('abc'), { 'content-length': '10' }],
    'a declared length that is too short': () => [of('abcdef'), { 'content-length': '3' }],
    'a stream of objects': () => [of({ sku: 'a' })],
    'a stream of null': () => [of(null)],
    'a source that throws nothing in particular': () => [throwing(undefined)],
  }
  for (const [name, make] of Object.entries(mistakes)) {
    it(`is named and held against nobody: ${name}`, async () => {
      const { http } = await serve((req, res) => req.resume().on('end', () => res.end('fine')))
      const [body, headers] = make()
      const error = await failure(http.post('/', body, headers && { headers }))
      expect(['cancelled', 'invalid-options']).toContain(error.code)
      expect(new Set(blamed(rig!))).toEqual(new Set(['none']))
    })
  }

  it('in a declared length that is no number is refused before anything is sent', async () => {
    const { http } = await serve(silent)
    const wrong = { headers: { 'content-length': 'six' } }
    await expect(http.post('/', of('abcdef'), wrong)).rejects.toThrow(/content-length.*number of bytes.*six/)
    expect(rig!.calls.admitted).toBe(0)
  })
})

async function* of(...chunks: unknown[]): AsyncGenerator<never> {
  for (const chunk of chunks) yield chunk as never
}

// biome-ignore lint/correctness/useYield: the source fails before it gives anything.
async function* throwing(what: unknown): AsyncGenerator<never> {
  throw what
}

async function drain(reader: { read(): Promise<{ done: boolean }> }): Promise<void> {
  while (!(await reader.read()).done);
}

function usually(ms: number): TypicalLatency {
  const usual = new TypicalLatency()
  usual.learn(ms)
  return usual
}

/** A service that answers at once, so that any wait would be its fault. */
function quick(): TypicalLatency {
  return usually(1)
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5))
}
