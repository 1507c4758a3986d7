import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { joinMesh } from '../../../src/mesh/join-mesh.ts'
import { startRegistry } from '../../../src/registry/index.ts'
import { circuits, guard } from '../../../src/resilience/index.ts'
import { startAdmin } from '../../../src/telemetry/admin.ts'
import { resolveAdmin } from '../../../src/telemetry/admin-access.ts'
import { meterFunctions } from '../../../src/telemetry/function-metrics.ts'
import { HystrixStreams, MOST_STREAMS } from '../../../src/telemetry/hystrix/stream.ts'
import { CLIENT_CALLS } from '../../../src/telemetry/metric-definitions.ts'
import { Metrics } from '../../../src/telemetry/metrics.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

const stops: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

type Event = Record<string, unknown> & { type: string; name: string }

/** Reads a stream; each call gives the events of the next write. */
async function open(url: string): Promise<() => Promise<Event[]>> {
  const abort = new AbortController()
  stops.push(() => abort.abort())
  const answer = await fetch(url, { signal: abort.signal })
  expect(answer.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
  const reader = answer.body!.getReader()
  return async () => {
    const { value, done } = await reader.read()
    if (done) return []
    const lines = new TextDecoder().decode(value).split('\n')
    return lines.filter((line) => line.startsWith('data: ')).map((line) => JSON.parse(line.slice(6)) as Event)
  }
}

/** Lets time pass until the stream has such an event. */
async function eventOf(
  clock: FakeClock,
  next: () => Promise<Event[]>,
  ofType: string,
  named: string,
  is: (event: Event) => boolean = () => true,
): Promise<Event> {
  for (let i = 0; i < 100; i++) {
    clock.advance(500)
    const found = (await next()).findLast((event) => event.type === ofType && event.name === named)
    if (found !== undefined && is(found)) return found
  }
  throw new Error(`no such ${ofType} of ${named} came`)
}

async function setUp() {
  const clock = new FakeClock()
  const metrics = new Metrics()
  stops.push(meterFunctions(metrics, 'checkout'))
  const own = () => circuits().filter(({ name }) => name === 'inventory')
  const hystrix = new HystrixStreams({ service: 'checkout', metrics, clock, circuits: own })
  const pages = { metrics: () => '', config: () => ({}), endpoints: () => ({}), events: () => [] }
  const admin = await startAdmin(resolveAdmin({}), { ...pages, hystrix, health: () => ({ ok: true }) })
  stops.push(() => admin.close())
  const calls = metrics.counter(CLIENT_CALLS.requests)
  const called = (code: string, times = 1, peer = 'inventory') => {
    calls.series('checkout', peer, 'GET', '', code).value += times
  }
  const url = `${admin.url}/hystrix.stream`
  return { clock, metrics, admin, called, url }
}

describe('/hystrix.stream', () => {
  it('has the counts of the last 10 s of each called service, by what Hystrix calls them', async () => {
    const { clock, metrics, called, url } = await setUp()
    called('ok', 1_000)
    const next = await open(url)
    await next()
    called('ok', 5)
    called('server-error', 2)
    called('attempt-timeout')
    called('deadline-exceeded')
    called('throttled')
    called('circuit-open', 4)
    called('cancelled', 9)
    const durations = metrics.histogram(CLIENT_CALLS.durations).series('checkout', 'inventory', 'GET', '')
    for (const ms of [10, 20, 30, 40]) durations.record(ms)
    metrics.gauge(CLIENT_CALLS.inFlight, () => [{ labels: { peer: 'inventory' }, value: 3 }])
    const event = await eventOf(clock, next, 'HystrixCommand', 'inventory', ({ requestCount }) => requestCount !== 0)
    expect(event).toMatchObject({
      ...{ type: 'HystrixCommand', name: 'inventory', group: 'checkout', reportingHosts: 1 },
      ...{ requestCount: 10, errorCount: 5, errorPercentage: 50, isCircuitBreakerOpen: false },
      ...{ rollingCountSuccess: 5, rollingCountFailure: 2, rollingCountTimeout: 2, rollingCountSemaphoreRejected: 1 },
      ...{ rollingCountShortCircuited: 4, rollingCountExceptionsThrown: 9 },
      ...{ currentConcurrentExecutionCount: 3, rollingMaxConcurrentExecutionCount: 3, latencyTotal_mean: 25 },
    })
    expect((event.latencyTotal as Record<string, number>)['50']).toBeCloseTo(20, -1)
    clock.advance(11_000)
    await eventOf(clock, next, 'HystrixCommand', 'inventory', ({ requestCount }) => requestCount === 0)
  })

  it('has the circuits of functions with their settings, and their bulkheads as thread pools', async () => {
    const { clock, url } = await setUp()
    const { promise, resolve } = Promise.withResolvers<number>()
    let fails = false
    const quote = guard(
      () => {
        if (fails) throw new Error('no')
        return promise
      },
      {
        name: 'Prices.quote',
        circuitBreaker: { errorThreshold: '30%', minimumCalls: 1, resetAfter: '7s' },
        bulkhead: { concurrency: 2, queue: 1 },
      },
    )
    const next = await open(url)
    await next()
    const running = [quote(), quote(), quote(), quote()].map((one) => one.catch(() => undefined))
    const pool = await eventOf(
      ...([clock, next, 'HystrixThreadPool', 'Prices.quote'] as const),
      ({ rollingCountCommandRejections }) => rollingCountCommandRejections !== 0,
    )
    expect(pool).toMatchObject({
      ...{ currentActiveCount: 2, currentCorePoolSize: 2, currentMaximumPoolSize: 2, currentQueueSize: 1 },
      ...{ rollingCountCommandRejections: 1, propertyValue_queueSizeRejectionThreshold: 1 },
    })
    const one = await eventOf(clock, next, 'HystrixCommand', 'Prices.quote')
    expect(one).toMatchObject({
      ...{ group: 'functions', rollingCountSemaphoreRejected: 1, isCircuitBreakerOpen: false },
      propertyValue_circuitBreakerErrorThresholdPercentage: 30,
      propertyValue_circuitBreakerSleepWindowInMilliseconds: 7_000,
      propertyValue_executionIsolationSemaphoreMaxConcurrentRequests: 2,
    })
    resolve(1)
    await Promise.all(running)
    fails = true
    for (let i = 0; i < 5; i++) await quote().catch(() => {})
    await eventOf(
      clock,
      next,
      'HystrixCommand',
      'Prices.quote',
      ({ isCircuitBreakerOpen }) => isCircuitBreakerOpen === true,
    )
  })

  it('has exactly the fields that the documentation lists', async () => {
    const { called, clock, url } = await setUp()
    const kept = guard(async () => 1, { name: 'kept', bulkhead: 1 })
    await kept()
    const next = await open(url)
    called('ok')
    await next()
    const found = [
      await eventOf(clock, next, 'HystrixCommand', 'inventory'),
      await eventOf(clock, next, 'HystrixThreadPool', 'kept'),
    ]
    const page = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8')
    for (const [type, heading] of [
      ['HystrixCommand', '### HystrixCommand'],
      ['HystrixThreadPool', '### HystrixThreadPool'],
    ] as const) {
      const section = page.split(heading)[1]!.split(/\n##/)[0]!
      const rows = [...section.matchAll(/^\| (`[^|]+) \|/gm)].map(([, cell]) => cell!)
      const listed = rows.flatMap((cell) => [...cell.matchAll(/`(\w+)`/g)].map(([, field]) => field))
      const sent = Object.keys(found.find((event) => event.type === type)!)
      expect(listed.toSorted()).toEqual(sent.toSorted())
    }
    expect(await kept()).toBe(1)
  })

  it('is open for five readers at once, and refuses a delay that is none', async () => {
    const { url } = await setUp()
    const readers = []
    for (let i = 0; i < MOST_STREAMS; i++) readers.push(await open(url))
    expect((await fetch(url)).status).toBe(503)
    for (const delay of ['', '-1', '99', '60001', '1e3', 'x']) {
      const answer = await fetch(`${url}?delay=${delay}`)
      expect(answer.status).toBe(400)
      expect(await answer.text()).toContain('from 100 to 60000')
    }
  })

  it('gives the place of a reader that has gone to the next, and ends with the listener', async () => {
    const { admin, url } = await setUp()
    for (let i = 0; i < MOST_STREAMS * 3; i++) {
      const socket = connect(admin.port, admin.host)
      socket.write('GET /hystrix.stream HTTP/1.1\r\nhost: localhost\r\n\r\n')
      await new Promise((resolve) => socket.once('data', resolve))
      socket.destroy()
    }
    await expect
      .poll(async () => {
        const answer = await fetch(url)
        await answer.body!.cancel()
        return answer.status
      })
      .toBe(200)
    const next = await open(url)
    await next()
    await admin.close()
    expect(await next()).toEqual([])
  })

  it('is on the admin listener of a mesh', async () => {
    const registry = await startRegistry({ port: 0, dev: true, memory: true, log: false })
    stops.push(() => registry.close())
    const options = { registry: registry.url, stateDir: 'memory', handleSignals: false, drainNotice: 0 } as const
    const server = await joinMesh({ ...options, service: 'inventory' })
    stops.push(() => server.close())
    await server.serve((_request, response) => response.end('3'))
    const client = await joinMesh({ ...options, service: 'checkout', adminPort: 0 })
    stops.push(() => client.close())
    const next = await open(`http://127.0.0.1:${client.adminPort}/hystrix.stream?delay=100`)
    await (await client.http('inventory').get('/items/1')).text()
    await expect.poll(async () => (await next()).find(({ name }) => name === 'inventory')?.rollingCountSuccess).toBe(1)
  })
})
