/** What the Hystrix dashboard and Turbine do with each event, in their rules. */
import { afterEach, expect, it } from 'vitest'
import { guard } from '../../../src/resilience/index.ts'
import { startAdmin } from '../../../src/telemetry/admin.ts'
import { resolveAdmin } from '../../../src/telemetry/admin-access.ts'
import { meterFunctions } from '../../../src/telemetry/function-metrics.ts'
import { functionNames } from '../../../src/telemetry/hystrix/command-names.ts'
import { HystrixStreams } from '../../../src/telemetry/hystrix/stream.ts'
import { CLIENT_CALLS } from '../../../src/telemetry/metric-definitions.ts'
import { Metrics } from '../../../src/telemetry/metrics.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'

type Event = Record<string, unknown> & { readonly type: string; readonly name: string }

/** The dashboard shows nothing of a command that lacks one of them. */
const REQUIRED: Readonly<Record<string, string>> = {
  HystrixCommand: `reportingHosts type name group isCircuitBreakerOpen errorPercentage errorCount requestCount
    rollingCountCollapsedRequests rollingCountExceptionsThrown rollingCountFailure rollingCountFallbackFailure
    rollingCountFallbackRejection rollingCountFallbackSuccess rollingCountResponsesFromCache
    rollingCountSemaphoreRejected rollingCountShortCircuited rollingCountSuccess rollingCountThreadPoolRejected
    rollingCountTimeout rollingCountBadRequests currentConcurrentExecutionCount latencyExecute_mean latencyExecute
    latencyTotal_mean latencyTotal propertyValue_circuitBreakerRequestVolumeThreshold
    propertyValue_circuitBreakerSleepWindowInMilliseconds propertyValue_circuitBreakerErrorThresholdPercentage
    propertyValue_circuitBreakerForceOpen propertyValue_executionIsolationStrategy
    propertyValue_executionIsolationThreadTimeoutInMilliseconds
    propertyValue_executionIsolationThreadInterruptOnTimeout
    propertyValue_executionIsolationSemaphoreMaxConcurrentRequests
    propertyValue_fallbackIsolationSemaphoreMaxConcurrentRequests propertyValue_requestCacheEnabled
    propertyValue_requestLogEnabled propertyValue_metricsRollingStatisticalWindowInMilliseconds`,
  HystrixThreadPool: `type name currentActiveCount currentCompletedTaskCount currentCorePoolSize currentLargestPoolSize
    currentMaximumPoolSize currentPoolSize currentQueueSize currentTaskCount rollingCountThreadsExecuted
    rollingMaxActiveThreads reportingHosts propertyValue_queueSizeRejectionThreshold
    propertyValue_metricsRollingStatisticalWindowInMilliseconds`,
}

/** An identifier of CSS, with escapes. */
const SELECTOR = /^(?:[\w-]|[^\0-\x7f]|\\[^\n0-9a-f])+$/u

/** Shows one event as the dashboard does, and throws where it would. */
function show(event: Event) {
  for (const field of REQUIRED[event.type]!.split(/\s+/)) {
    if (event[field] === undefined || event[field] === null) throw new Error(`${field} of ${event.name} is missing`)
  }
  const isCommand = event.type === 'HystrixCommand'
  const id = isCommand
    ? event.name.replace(/[ !"#$%&'()*+,./:;<=>?@[\]^`{|}~]/g, '\\$&')
    : event.name.replace(/[.:-]/g, '_')
  if (!SELECTOR.test(id)) throw new Error(`no element is found by ${id}`)
  // It is written into attributes as it stands.
  if (/["<>&\s]/.test(event.name)) throw new Error(`${event.name} is no text of HTML`)
  const seconds = Number(event.propertyValue_metricsRollingStatisticalWindowInMilliseconds) / 1_000
  const count = Number(isCommand ? event.requestCount : event.rollingCountThreadsExecuted)
  return { type: event.type, id, perSecond: count / seconds }
}

/** Adds up events of two hosts as Turbine does: whole numbers, and maps of them. */
function turbine(first: Event, second: Event): Record<string, unknown> {
  const sum: Record<string, unknown> = { type: first.type, name: first.name }
  for (const [key, value] of Object.entries(first)) {
    const other = second[key]
    expect(typeof other, key).toBe(typeof value)
    if (typeof value === 'number' && !key.startsWith('propertyValue_') && key !== 'currentTime') {
      expect(Number.isSafeInteger(value), key).toBe(true)
      sum[key] = value + Number(other)
    } else if (typeof value === 'object' && value !== null) {
      for (const each of Object.values(value)) expect(Number.isSafeInteger(each), key).toBe(true)
    }
  }
  return sum
}

const stops: (() => unknown)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop()
})

/** The last event of each command and pool, once the calls are in them. */
async function read(): Promise<Event[]> {
  const clock = new FakeClock()
  const metrics = new Metrics('checkout')
  stops.push(meterFunctions(metrics, 'checkout'))
  const hystrix = new HystrixStreams({ service: 'checkout', metrics, clock, circuits: () => [] })
  const pages = { metrics: () => '', config: () => ({}), endpoints: () => ({}), events: () => [] }
  const admin = await startAdmin(resolveAdmin({}), { ...pages, hystrix, health: () => ({ ok: true }) })
  stops.push(() => admin.close())
  const calls = metrics.counter(CLIENT_CALLS.requests).series('checkout', 'inventory', 'GET', '', 'ok')
  const answer = await fetch(`${admin.url}/hystrix.stream`)
  const reader = answer.body!.getReader()
  await reader.read()
  calls.value += 30
  metrics.histogram(CLIENT_CALLS.durations).series('checkout', 'inventory', 'GET', '').record(7.3)
  for (const made of functions) await made()
  const last = new Map<string, Event>()
  while (last.get('HystrixCommand inventory')?.requestCount !== 30) {
    clock.advance(500)
    const text = new TextDecoder().decode((await reader.read()).value)
    expect(text.endsWith('\n\n')).toBe(true)
    for (const line of text.split('\n').filter((each) => each.startsWith('data: '))) {
      const event = JSON.parse(line.slice(6)) as Event
      last.set(`${event.type} ${event.name}`, event)
    }
  }
  await reader.cancel()
  return [...last.values()]
}

const NAMES = ['charge', 'Cart.add', 'pay by card', '<img src=x>', 'a"b', 'a\\b', 'naïve/Straße', '名前', 'inventory']
const functions = NAMES.map((name) => guard(async () => 1, { name, bulkhead: 3 }))
functions.push(guard(async () => 1, { name: 'adaptive', bulkhead: { concurrency: 'adaptive', queue: 2 } }))

it('each event of the stream is shown, whatever functions are called', async () => {
  const events = await read()
  const shown = events.map(show)
  const ids = shown.map(({ type, id }) => `${type} ${id}`)
  expect(ids).toEqual(expect.arrayContaining(['HystrixCommand inventory', 'HystrixThreadPool 名前']))
  expect(ids).toEqual(expect.arrayContaining(['HystrixCommand inventory\\.function', 'HystrixCommand pay_by_card']))
  expect(new Set(ids).size).toBe(ids.length)
  expect(events.filter(({ type }) => type === 'HystrixThreadPool')).toHaveLength(NAMES.length + 1)
  for (const { type, name, threadPool } of events) {
    if (type === 'HystrixCommand') expect(threadPool).toBe(name)
  }
})

it('events of two hosts add up', async () => {
  const [first, second] = [await read(), await read()]
  for (const event of first) {
    const other = second.find(({ type, name }) => type === event.type && name === event.name)
    const sum = turbine(event, other!)
    expect(sum.reportingHosts).toBe(2)
    if (event.type === 'HystrixCommand' && event.name === 'inventory') expect(sum.requestCount).toBe(60)
  }
})

it('names that become the same stay apart', () => {
  expect([...functionNames(['a b', 'a_b', 'a/b', 'shop'], ['shop']).values()]).toEqual([
    'a_b',
    'a_b.function',
    'a_b.function.function',
    'shop.function',
  ])
})
