/**
 * Three hops through four meshes: cancellation, deadline and trace reach the last one. Real
 * sockets, one process.
 */
import { context, propagation, trace } from '@opentelemetry/api'
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { currentCall, type Mesh } from '../../src/index.ts'
import { eventually, Rig, wait } from '../end-to-end/rig.ts'

const HOPS = ['first', 'second', 'third'] as const

interface Arrival {
  readonly service: string
  readonly path: string
  readonly remainingMs: number
  readonly aborted: () => boolean
  readonly peer: string | undefined
}

let rig: Rig
let client: Mesh
const arrivals: Arrival[] = []
const spans = new InMemorySpanExporter()
const provider = new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(spans)] })

beforeAll(async () => {
  provider.register()
  rig = new Rig()
  const registry = await rig.registry({ dev: true })
  for (const [i, service] of HOPS.entries()) {
    const mesh = await rig.mesh(registry, service)
    const next = HOPS[i + 1]
    await mesh.serve(async (req, res) => {
      const call = currentCall()!
      const { signal } = call
      const path = req.url ?? ''
      arrivals.push({
        service,
        path,
        remainingMs: call.remainingMs,
        aborted: () => signal.aborted,
        peer: call.peer?.service,
      })
      if (next !== undefined) {
        await wait(20)
        const answer = await mesh.http(next).get(path)
        res.statusCode = answer.status
        res.end(`${service} ${await answer.text()}`)
        return
      }
      if (path === '/long') await new Promise((resolve) => signal.addEventListener('abort', resolve))
      res.end(service)
    })
  }
  client = await rig.mesh(registry, 'client')
  // The first call of each hop finds its service; the tests are about the later ones.
  expect(await (await client.http('first').get('/warm-up')).text()).toBe('first second third')
})

afterAll(async () => {
  await rig.close()
  await provider.shutdown()
  // The files that follow in this process register theirs.
  for (const global of [trace, context, propagation]) global.disable()
})

function at(path: string): Arrival[] {
  return arrivals.filter((arrival) => arrival.path === path)
}

test("a caller's abort reaches the signal of the handler three hops away, long before its deadline", async () => {
  const abort = new AbortController()
  const result = client
    .http('first')
    .get('/long', { signal: abort.signal, timeout: '1m' })
    .catch((error: unknown) => error)
  await eventually('the third hop is at work', () => at('/long').length === 3)
  expect(at('/long').map(({ aborted }) => aborted())).toEqual([false, false, false])
  const abortedAt = performance.now()
  abort.abort(new Error('enough'))
  expect(await result).toMatchObject({ code: 'cancelled', sent: true })
  await eventually('all three have heard of it', () => at('/long').every(({ aborted }) => aborted()))
  expect(performance.now() - abortedAt).toBeLessThan(30_000)
  // No hop retries a cancellation.
  await wait(300)
  expect(at('/long')).toHaveLength(3)
})

test('the deadline is carried over three hops and shrinks', async () => {
  await (await client.http('first').get('/deadline', { timeout: '9s' })).text()
  const [first, second, third] = at('/deadline')
  expect([first?.service, second?.service, third?.service]).toEqual([...HOPS])
  expect(first!.remainingMs).toBeLessThanOrEqual(9_000)
  expect(first!.remainingMs).toBeGreaterThan(3_000)
  // Each hop waits 20 ms before it calls the next.
  expect(second!.remainingMs).toBeLessThan(first!.remainingMs - 15)
  expect(third!.remainingMs).toBeLessThan(second!.remainingMs - 15)
  expect([first!.peer, second!.peer, third!.peer]).toEqual(['client', 'first', 'second'])
})

test('work whose time is over never reaches the handler behind', async () => {
  // Over while the first hop waits for its 20 ms. Who notices first tells the caller: its own
  // timer, or the server with a 504.
  const ended = await client
    .http('first')
    .get('/expired', { timeout: 10 })
    .then(
      ({ status }) => status,
      ({ code }) => code,
    )
  expect([504, 'deadline-exceeded']).toContain(ended)
  await wait(300)
  expect(at('/expired').filter(({ service }) => service !== 'first')).toEqual([])
})

test('three hops are one trace of calls, attempts and served requests', async () => {
  let traceId = ''
  await trace.getTracer('test').startActiveSpan('application', async (span) => {
    traceId = span.spanContext().traceId
    await (await client.http('first').get('/traced')).text()
    span.end()
  })
  const ofTrace = (): ReadableSpan[] =>
    spans.getFinishedSpans().filter((span) => span.spanContext().traceId === traceId)
  await eventually('all spans have ended', () => ofTrace().length >= 10)
  const all = ofTrace()
  // The application's, and for each hop a call, an attempt and a served request, each the child of
  // the one before.
  expect(all).toHaveLength(10)
  const chain: ReadableSpan[] = []
  let parent: string | undefined
  for (;;) {
    const children = all.filter((span) => span.parentSpanContext?.spanId === parent)
    if (children.length === 0) break
    expect(children).toHaveLength(1)
    chain.push(children[0]!)
    parent = children[0]!.spanContext().spanId
  }
  const [INTERNAL, SERVER, CLIENT] = [0, 1, 2]
  expect(chain).toHaveLength(10)
  expect(chain[0]!.kind).toBe(INTERNAL)
  for (const hop of [1, 4, 7]) {
    expect(chain[hop + 1]!.kind).toBe(CLIENT)
    expect(chain[hop + 2]!.kind).toBe(SERVER)
  }
})
