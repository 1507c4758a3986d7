/**
 * Circuits as the objects that the Hystrix dashboard and Turbine read, field by field after
 * Hystrix 1.5 (`HystrixCommand`, `HystrixThreadPool`). Turbine sums what are numbers.
 */
import type { ErrorCode } from '../../core/errors.ts'
import type { OpossumCircuit } from '../../resilience/opossum-circuit.ts'
import type { Histogram } from '../histogram.ts'
import { type Usage, WINDOW_MS } from './rolling-usage.ts'

const PERCENTILES = ['0', '25', '50', '75', '90', '95', '99', '99.5', '100'] as const

/** Refused here, because too much runs or is asked for. Hystrix: by its semaphore. */
const REJECTED: ReadonlySet<string> = new Set<ErrorCode>([
  'concurrency-limited',
  'queue-full',
  'rate-limited',
  'global-rate-limited',
  'throttled',
])
const LATE: ReadonlySet<string> = new Set<ErrorCode>(['deadline-exceeded', 'attempt-timeout'])

/** What a command is made of. */
export interface CommandParts {
  readonly name: string
  /** The dashboard sorts and filters by it. */
  readonly group: string
  readonly usage: Usage | undefined
  /** All circuits of that name. */
  readonly circuits: readonly OpossumCircuit[]
  /** Executions at once; `undefined`: no limit. */
  readonly limit: number | undefined
  readonly wallNow: number
}

export function command({ name, group, usage, circuits, limit, wallNow }: CommandParts): Record<string, unknown> {
  const count = (is: (code: string) => boolean): number => {
    let sum = 0
    for (const [code, calls] of usage?.codes ?? []) if (is(code)) sum += calls
    return sum
  }
  const success = count((code) => code === 'ok')
  const shorted = count((code) => code === 'circuit-open')
  const late = count((code) => LATE.has(code))
  const rejected = count((code) => REJECTED.has(code))
  const thrown = count((code) => code !== 'ok' && code !== 'cancelled')
  const failed = thrown - shorted - late - rejected
  // As in Hystrix, what an open circuit refuses is neither a request nor an error.
  const errors = failed + late + rejected
  const requests = success + errors
  const latency = latencies(usage?.duration)
  return {
    type: 'HystrixCommand',
    name,
    group,
    currentTime: wallNow,
    isCircuitBreakerOpen: circuits.some((circuit) => circuit.opened),
    errorPercentage: requests === 0 ? 0 : Math.floor((errors / requests) * 100),
    errorCount: errors,
    requestCount: requests,
    rollingCountBadRequests: 0,
    rollingCountCollapsedRequests: 0,
    rollingCountEmit: 0,
    rollingCountExceptionsThrown: thrown,
    rollingCountFailure: failed,
    rollingCountFallbackEmit: 0,
    rollingCountFallbackFailure: 0,
    rollingCountFallbackMissing: 0,
    rollingCountFallbackRejection: 0,
    rollingCountFallbackSuccess: 0,
    rollingCountResponsesFromCache: 0,
    rollingCountSemaphoreRejected: rejected,
    rollingCountShortCircuited: shorted,
    rollingCountSuccess: success,
    rollingCountThreadPoolRejected: 0,
    rollingCountTimeout: late,
    currentConcurrentExecutionCount: usage?.inFlight ?? 0,
    rollingMaxConcurrentExecutionCount: usage?.mostInFlight ?? 0,
    latencyExecute_mean: latency.mean,
    latencyExecute: latency.percentiles,
    latencyTotal_mean: latency.mean,
    latencyTotal: latency.percentiles,
    ...properties(circuits[0], limit),
    reportingHosts: 1,
    threadPool: name,
  }
}

/** Settings that we do not have are as if they were off, or as Hystrix sets them. */
function properties(circuit: OpossumCircuit | undefined, limit = 0): Record<string, unknown> {
  const { volumeThreshold = 0, resetTimeout = 0, errorThresholdPercentage = 0 } = circuit?.options ?? {}
  return {
    propertyValue_circuitBreakerRequestVolumeThreshold: volumeThreshold,
    propertyValue_circuitBreakerSleepWindowInMilliseconds: resetTimeout,
    propertyValue_circuitBreakerErrorThresholdPercentage: errorThresholdPercentage,
    propertyValue_circuitBreakerForceOpen: false,
    propertyValue_circuitBreakerForceClosed: false,
    propertyValue_circuitBreakerEnabled: circuit?.enabled === true,
    propertyValue_executionIsolationStrategy: 'SEMAPHORE',
    propertyValue_executionIsolationThreadTimeoutInMilliseconds: 0,
    propertyValue_executionTimeoutInMilliseconds: 0,
    propertyValue_executionIsolationThreadInterruptOnTimeout: false,
    propertyValue_executionIsolationThreadPoolKeyOverride: null,
    propertyValue_executionIsolationSemaphoreMaxConcurrentRequests: finite(limit),
    propertyValue_fallbackIsolationSemaphoreMaxConcurrentRequests: 0,
    propertyValue_metricsRollingStatisticalWindowInMilliseconds: WINDOW_MS,
    propertyValue_requestCacheEnabled: false,
    propertyValue_requestLogEnabled: false,
  }
}

/** What a thread pool is made of: the bulkhead of a function. */
export interface PoolParts {
  readonly name: string
  readonly usage: Usage | undefined
  readonly inFlight: number
  readonly limit: number
  readonly waiting: number
  /** How many may wait. */
  readonly room: number
  readonly wallNow: number
}

export function threadPool(parts: PoolParts): Record<string, unknown> {
  const { name, usage, inFlight, limit, waiting, room, wallNow } = parts
  const rejections = (usage?.codes.get('concurrency-limited') ?? 0) + (usage?.codes.get('queue-full') ?? 0)
  const executed = usage?.executed ?? 0
  const size = finite(limit)
  return {
    type: 'HystrixThreadPool',
    name,
    currentTime: wallNow,
    currentActiveCount: inFlight,
    currentCompletedTaskCount: executed,
    currentCorePoolSize: size,
    currentLargestPoolSize: Math.max(inFlight, usage?.mostInFlight ?? 0),
    currentMaximumPoolSize: size,
    currentPoolSize: size,
    currentQueueSize: waiting,
    currentTaskCount: executed + inFlight,
    rollingCountThreadsExecuted: executed,
    rollingMaxActiveThreads: Math.max(inFlight, usage?.mostInFlight ?? 0),
    rollingCountCommandRejections: rejections,
    propertyValue_queueSizeRejectionThreshold: finite(room),
    propertyValue_metricsRollingStatisticalWindowInMilliseconds: WINDOW_MS,
    reportingHosts: 1,
  }
}

/** JSON would have null for infinity, which the dashboard takes for a missing field. */
function finite(value: number): number {
  return Number.isFinite(value) ? Math.round(value) : 0
}

/** Whole ms, as Hystrix has them. */
function latencies(duration: Histogram | undefined) {
  const { count = 0, sumMs = 0 } = duration ?? {}
  const of = (p: number) => (duration === undefined ? 0 : Math.round(duration.percentile(p / 100)))
  return {
    mean: count === 0 ? 0 : Math.round(sumMs / count),
    percentiles: Object.fromEntries(PERCENTILES.map((p) => [p, of(Number(p))])),
  }
}
