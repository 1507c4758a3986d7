import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call } from '../../src/core/call.ts'
import type { Endpoint } from '../../src/core/endpoint.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import { NOT_STARTED, type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import type { Cluster } from '../../src/core/picker.ts'
import type { Policy } from '../../src/core/policy.ts'
import { SILENT, type Telemetry } from '../../src/core/telemetry.ts'
import { answerBegins, endAttempt, endCall, startAttempt, startCall } from '../../src/resilience/execution.ts'
import { FINAL, RETRY, RetryPolicy } from '../../src/resilience/retry.ts'
import { RetryBudget } from '../../src/resilience/retry-budget.ts'
import { AttemptFailed, retryLoop } from '../../src/resilience/retry-loop.ts'
import type { Stack } from '../../src/resilience/stack.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, FAILURE, KIND } from './conformance.ts'

class Recorder implements Policy {
  readonly name: string
  readonly log: string[]
  refusal: ErrorCode | undefined
  answered?: () => void
  constructor(name: string, log: string[], refusal?: ErrorCode) {
    this.name = name
    this.log = log
    this.refusal = refusal
  }
  admit(): ErrorCode | undefined {
    this.log.push(`${this.name}?`)
    return this.refusal
  }
  settle(_: Attempt, end: Outcome): void {
    this.log.push(`${this.name}:${end === NOT_STARTED ? 'not-started' : end.verdict}`)
  }
}

function setUp(options: { endpoints?: Endpoint[]; telemetry?: Telemetry } = {}) {
  const clock = new FakeClock()
  const log: string[] = []
  const endpoints = options.endpoints ?? [endpoint('a'), endpoint('b'), endpoint('c')]
  let next = 0
  const cluster: Cluster = {
    service: 'inventory',
    endpoints,
    picker: { pick: () => endpoints[next++ % endpoints.length] },
    whenAvailable: () => () => {},
    onChange: () => () => {},
  }
  const budget = new RetryBudget(RETRY.defaults.budget, clock)
  const service = [new Recorder('s1', log), new Recorder('s2', log)]
  const part = [new Recorder('e1', log), new Recorder('e2', log)]
  const stack: Stack = {
    timeoutMs: 10_000,
    service,
    endpoint: part,
    retry: new RetryPolicy(RETRY.defaults, budget, clock),
    budget,
    cluster,
    telemetry: options.telemetry ?? SILENT,
    clock,
  }
  return { clock, log, stack, service, part, endpoints }
}

function begin(stack: Stack, call: Call): Attempt {
  const attempt = new Attempt(call)
  expect(startAttempt(stack, attempt)).toBeUndefined()
  return attempt
}

describe('execution', () => {
  it('asks from the outside in and tells from the inside out', () => {
    const { clock, log, stack } = setUp()
    const call = callAt(clock)
    startCall(stack, call)
    expect(endAttempt(stack, begin(stack, call), SUCCESS)).toBe(FINAL)
    expect(log).toEqual(['s1?', 's2?', 'e1?', 'e2?', 'e2:success', 'e1:success', 's2:success', 's1:success'])
  })

  it('asks the service once per call and the endpoint for every attempt', () => {
    const { clock, log, stack } = setUp()
    const call = callAt(clock)
    startCall(stack, call)
    endAttempt(stack, begin(stack, call), outcome('failure', 'connection-lost'))
    endAttempt(stack, begin(stack, call), SUCCESS)
    expect(log.filter((entry) => entry === 's1?').length).toBe(1)
    expect(log.filter((entry) => entry === 'e1?').length).toBe(2)
    expect(log.at(-1)).toBe('s1:success')
  })

  it('tells those asked before a refusal that nothing was started', () => {
    const { clock, log, stack, part } = setUp()
    part[1]!.refusal = 'throttled'
    const call = callAt(clock)
    startCall(stack, call)
    expect(startAttempt(stack, new Attempt(call))).toBe('throttled')
    expect(log).toEqual(['s1?', 's2?', 'e1?', 'e2?', 'e1:not-started'])
    endCall(stack, call, outcome('refused', 'throttled'))
    expect(log.slice(-2)).toEqual(['s2:refused', 's1:refused'])
  })

  it('does not settle service policies of a call they refused', () => {
    const { clock, log, stack, service } = setUp()
    service[1]!.refusal = 'circuit-open'
    const call = callAt(clock)
    startCall(stack, call)
    expect(startAttempt(stack, new Attempt(call))).toBe('circuit-open')
    endCall(stack, call, outcome('refused', 'circuit-open'))
    expect(log).toEqual(['s1?', 's2?', 's1:not-started'])
  })

  it('settles a call once, however often it ends', () => {
    const ended: Outcome[] = []
    const { clock, stack, log } = setUp({ telemetry: { ...SILENT, callEnded: (_, end) => ended.push(end) } })
    const call = callAt(clock)
    startCall(stack, call)
    const attempt = begin(stack, call)
    endAttempt(stack, attempt, SUCCESS)
    expect(endAttempt(stack, attempt, FAILURE)).toBe(FINAL)
    endCall(stack, call, FAILURE)
    expect(ended).toEqual([SUCCESS])
    expect(log.filter((entry) => entry.startsWith('s1:')).length).toBe(1)
  })

  it('reports each failed attempt and remembers where it was tried', () => {
    const { clock, stack, endpoints } = setUp()
    const call = callAt(clock)
    startCall(stack, call)
    const first = begin(stack, call)
    clock.advance(7)
    expect(endAttempt(stack, first, outcome('refused', 'connect-failed'))).toBe(0)
    expect(call.tried).toEqual([endpoints[0]])
    expect(call.reports).toEqual([
      { endpoint: '127.0.0.1:8080', durationMs: 7, code: 'connect-failed', status: undefined },
    ])
    expect(call.sent).toBe(false)
  })

  it('says that the request may have been acted on as soon as one attempt was sent and not refused', () => {
    const { clock, stack } = setUp()
    const call = callAt(clock)
    startCall(stack, call)
    const attempt = begin(stack, call)
    attempt.sent = true
    endAttempt(stack, attempt, outcome('refused', 'refused-by-peer'))
    expect(call.sent).toBe(false)
    const second = begin(stack, call)
    second.sent = true
    endAttempt(stack, second, outcome('failure', 'connection-lost'))
    expect(call.sent).toBe(true)
  })

  it('keeps the oldest attempt of an endpoint known while they end in any order', () => {
    const at = endpoint('only')
    const { clock, stack } = setUp({ endpoints: [at] })
    const attempts = Array.from({ length: 5 }, () => {
      clock.advance(1)
      return begin(stack, callAt(clock))
    })
    expect(at.pending).toBe(5)
    for (const i of [2, 0, 4, 1, 3]) {
      endAttempt(stack, attempts[i]!, SUCCESS)
      const oldest = attempts.find((attempt) => attempt.running)
      expect(at.oldest).toBe(oldest)
    }
    expect(at.pending).toBe(0)
    expect(at.newest).toBeUndefined()
  })

  it('counts open streams of an endpoint, and does not take them for attempts that wait for an answer', () => {
    const at = endpoint('only')
    const { clock, stack } = setUp({ endpoints: [at] })
    const stream = begin(stack, callAt(clock, 1e6, { ...KIND, streaming: true }))
    expect([at.pending, at.oldest]).toEqual([1, undefined])
    const short = begin(stack, callAt(clock))
    expect([at.pending, at.oldest, at.newest]).toEqual([2, short, short])
    endAttempt(stack, stream, SUCCESS)
    expect([at.pending, at.oldest]).toEqual([1, short])
    endAttempt(stack, short, SUCCESS)
    expect([at.pending, at.oldest, at.newest]).toEqual([0, undefined, undefined])
  })

  it('takes an attempt for a stream once its answer has begun, and tells policies once', () => {
    const at = endpoint('only')
    const { clock, log, part, stack } = setUp({ endpoints: [at] })
    part[0]!.answered = () => void log.push('answered')
    const older = begin(stack, callAt(clock))
    const younger = begin(stack, callAt(clock))
    answerBegins(stack, older)
    answerBegins(stack, older)
    expect([at.pending, at.oldest, at.newest]).toEqual([2, younger, younger])
    expect(log.filter((line) => line === 'answered')).toHaveLength(1)
    endAttempt(stack, older, SUCCESS)
    answerBegins(stack, older)
    expect([at.pending, at.oldest, at.newest]).toEqual([1, younger, younger])
    expect(log.filter((line) => line === 'answered')).toHaveLength(1)
    endAttempt(stack, younger, SUCCESS)
    expect([at.pending, at.oldest, at.newest]).toEqual([0, undefined, undefined])
  })

  it('settles a call as failed of which an earlier attempt failed, although the last one had little time', () => {
    const { clock, log, stack } = setUp()
    const call = callAt(clock)
    startCall(stack, call)
    expect(endAttempt(stack, begin(stack, call), outcome('failure', 'overloaded', undefined, 503))).toBeGreaterThan(0)
    endAttempt(stack, begin(stack, call), outcome('cancelled', 'deadline-exceeded'))
    expect(log.slice(-4)).toEqual(['e2:cancelled', 'e1:cancelled', 's2:failure', 's1:failure'])
    const alone = callAt(clock)
    startCall(stack, alone)
    endAttempt(stack, begin(stack, alone), outcome('cancelled', 'deadline-exceeded'))
    expect(log.slice(-2)).toEqual(['s2:cancelled', 's1:cancelled'])
  })

  it('starts nothing for a cancelled call, an expired one, or one whose parent was cancelled', () => {
    const { clock, stack } = setUp()
    const call = callAt(clock)
    startCall(stack, call)
    call.cancel(undefined)
    expect(startAttempt(stack, new Attempt(call))).toBe('cancelled')

    const late = callAt(clock, 5)
    startCall(stack, late)
    clock.advance(5)
    expect(startAttempt(stack, new Attempt(late))).toBe('deadline-exceeded')

    const parent = callAt(clock)
    parent.cancel('gone')
    const child = new Call(KIND, clock.now(), clock.now() + 100, parent)
    startCall(stack, child)
    expect(startAttempt(stack, new Attempt(child))).toBe('cancelled')
  })

  it('cancels running children with their parent, and forgets children that ended', () => {
    const { clock, stack } = setUp()
    const parent = callAt(clock)
    const ended = new Call(KIND, 0, 1e6, parent)
    const running = new Call(KIND, 0, 1e6, parent)
    for (const call of [ended, running]) startCall(stack, call)
    endAttempt(stack, begin(stack, ended), SUCCESS)
    begin(stack, running)
    parent.cancel('gone')
    expect(running.cancelledBy).toBe('gone')
    expect(ended.cancelled).toBe(false)
  })
})

describe('what may be repeated', () => {
  const cases: [string, Outcome, boolean, boolean][] = [
    ['a lost connection of an idempotent call', outcome('failure', 'connection-lost'), true, true],
    ['a lost connection of another call', outcome('failure', 'connection-lost'), false, false],
    ['a refused connection of any call', outcome('refused', 'connect-failed'), false, true],
    ['a 503', outcome('failure', 'overloaded', undefined, 503), true, true],
    ['a 500', outcome('failure', 'server-error', undefined, 500), true, false],
    ['a denial', outcome('refused', 'permission-denied', undefined, 403), true, false],
    ['a peer that asks not to', outcome('failure', 'overloaded', undefined, 503, -1), true, false],
    ['a pause longer than the time left', outcome('failure', 'overloaded', undefined, 503, 60_000), true, false],
    ['a timeout of the attempt', outcome('failure', 'attempt-timeout'), true, true],
    ['the end of time', outcome('failure', 'deadline-exceeded'), true, false],
  ]
  it.each(cases)('%s', (_, end, idempotent, expected) => {
    const { clock, stack } = setUp()
    const call = callAt(clock, 10_000, { ...KIND, idempotent })
    startCall(stack, call)
    expect(endAttempt(stack, begin(stack, call), end) >= 0).toBe(expected)
  })

  it('bounds attempts that certainly were not executed, too', () => {
    const { clock, stack } = setUp()
    const call = callAt(clock)
    startCall(stack, call)
    let attempts = 1
    while (endAttempt(stack, begin(stack, call), outcome('refused', 'connect-failed')) >= 0) attempts += 1
    expect(attempts).toBe(8)
  })
})

describe('repeat', () => {
  it('ends a wait at once when the call is cancelled, and the attempt after it is refused', async () => {
    const { clock, stack } = setUp()
    const call = callAt(clock)
    startCall(stack, call)
    let refusal: ErrorCode | undefined
    const done = retryLoop(stack, call, 5_000, async () => {
      refusal = startAttempt(stack, new Attempt(call))
      throw new Error('refused')
    })
    call.cancel('gone')
    await expect(done).rejects.toThrow('refused')
    expect(refusal).toBe('cancelled')
    expect(clock.timers).toBe(0)
  })

  it('passes on whatever an attempt ends with, even what is not an Error', async () => {
    const { clock, stack } = setUp()
    const call = callAt(clock)
    const odd = { code: 14 }
    await expect(retryLoop(stack, call, 0, () => Promise.reject(odd))).rejects.toBe(odd)
    const abort = Object.assign(new Error('stop'), { name: 'AbortError' })
    await expect(retryLoop(stack, call, 0, () => Promise.reject(abort))).rejects.toBe(abort)
    await expect(retryLoop(stack, call, 0, () => Promise.reject(new TypeError('mine')))).rejects.toThrow('mine')
  })

  it('waits as long as the execution said, on its clock', async () => {
    const { clock, stack } = setUp()
    const call = callAt(clock)
    const startedAt: number[] = []
    const done = retryLoop(stack, call, 10, async () => {
      startedAt.push(clock.now())
      if (startedAt.length < 3) throw new AttemptFailed(20 * startedAt.length)
      return 'answer'
    })
    await clock.settle(100)
    expect(await done).toBe('answer')
    expect(startedAt).toEqual([10, 30, 70])
  })
})

describe('retry options', () => {
  it('names every wrong field', () => {
    expect(() => RETRY.resolve({ attempts: 0, backoff: { base: 'soon' as '1s' } })).toThrow(/attempts.*backoff\.base/s)
  })
})
