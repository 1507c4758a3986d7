import { describe, expect, it } from 'vitest'
import { Attempt, waitedForPeerMs } from '../../src/core/attempt.ts'
import { SUCCESS } from '../../src/core/outcome.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { endAttempt } from '../../src/resilience/execution.ts'
import { RETRY, RetryPolicy } from '../../src/resilience/retry.ts'
import { RetryBudget } from '../../src/resilience/retry-budget.ts'
import { compileEndpointlessStack, type Stack } from '../../src/resilience/stack.ts'
import { hadEnoughTime } from '../../src/resilience/timeout-attribution.ts'
import { TypicalLatency } from '../../src/resilience/typical-latency.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, KIND } from './conformance.ts'

function stackOf(clock: FakeClock, usual?: TypicalLatency, attempts = 1, timeoutMs = 5_000): Stack {
  const retry = RETRY.resolve({ attempts, perTryTimeout: 1_000 })
  const stack = compileEndpointlessStack(timeoutMs, SILENT, clock, [], [], retry)
  const policy = new RetryPolicy(retry, new RetryBudget(retry.budget, clock), clock)
  return { ...stack, retry: policy, ...(usual !== undefined && { typicalLatency: usual }) }
}

function usually(...answers: number[]): TypicalLatency {
  const usual = new TypicalLatency()
  for (const ms of answers) usual.learn(ms)
  return usual
}

/** An attempt of a call bounded by `boundMs` that has run for `ms`. */
function attemptOf(clock: FakeClock, boundMs: number, ms: number, idempotent = true): Attempt {
  const call = callAt(clock, boundMs, { ...KIND, idempotent })
  const attempt = new Attempt(call)
  attempt.startedAt = clock.now()
  clock.advance(ms)
  return attempt
}

function blamed(boundMs: number, usual: TypicalLatency | undefined, options: { attempts?: number; own?: number } = {}) {
  const clock = new FakeClock()
  clock.advance(1)
  const attempt = attemptOf(clock, boundMs, boundMs)
  attempt.ownMs = options.own ?? 0
  return hadEnoughTime(stackOf(clock, usual, options.attempts), attempt, clock.now())
}

describe('a timeout', () => {
  it('says nothing below the policy’s bound as long as no answer is known', () => {
    expect(blamed(10, undefined)).toBe(false)
    expect(blamed(4_000, undefined)).toBe(false)
    expect(blamed(10, new TypicalLatency())).toBe(false)
  })

  it('is the peer’s at the policy’s bound, and at an inherited one that is a little shorter', () => {
    expect(blamed(5_000, undefined)).toBe(true)
    expect(blamed(4_600, undefined)).toBe(true)
  })

  it('is the peer’s after the time of a try, if the call may be tried again', () => {
    expect(blamed(1_000, undefined, { attempts: 3 })).toBe(true)
    expect(blamed(1_000, undefined, { attempts: 1 })).toBe(false)
  })

  it('is the peer’s after twice its slowest recent answer, and not sooner', () => {
    expect(blamed(399, usually(30, 200, 30))).toBe(true)
    expect(blamed(300, usually(30, 200, 30))).toBe(false)
    expect(blamed(10, usually(30))).toBe(false)
  })

  it('is the peer’s as before after an answer that our own stall held up', () => {
    const clock = new FakeClock()
    clock.advance(1)
    const usual = usually(30)
    const stack = stackOf(clock, usual)
    const held = attemptOf(clock, 5_000, 20)
    held.running = true
    clock.stall(2_000)
    endAttempt(stack, held, SUCCESS)
    expect(usual.slowestMs).toBeLessThanOrEqual(30)
    const slow = attemptOf(clock, 5_000, 800)
    slow.running = true
    endAttempt(stack, slow, SUCCESS)
    expect(usual.slowestMs).toBe(800)
  })

  it('is nobody’s within the tens of ms that a pause takes, however fast the service is', () => {
    expect(blamed(40, usually(0.5))).toBe(false)
    expect(blamed(50, usually(0.5))).toBe(true)
  })

  it('is not the peer’s while the peer waits for our side, nor if most of the time was ours', () => {
    expect(blamed(5_000, undefined, { own: 4_900 })).toBe(false)
    expect(blamed(5_000, undefined, { own: 1_000 })).toBe(true)
    const clock = new FakeClock()
    clock.advance(1)
    const attempt = attemptOf(clock, 5_000, 5_000)
    attempt.ownSince = clock.now() - 1
    expect(hadEnoughTime(stackOf(clock, usually(1)), attempt, clock.now())).toBe(false)
    expect(waitedForPeerMs(attempt, clock.now())).toBe(4_999)
  })

  it('is not the peer’s if our own loop stood still for most of it', () => {
    const clock = new FakeClock()
    clock.advance(1)
    const attempt = attemptOf(clock, 1_000, 1_000)
    expect(hadEnoughTime(stackOf(clock, usually(100)), attempt, clock.now())).toBe(true)
    clock.stalledMsSince = () => 900
    expect(hadEnoughTime(stackOf(clock, usually(100)), attempt, clock.now())).toBe(false)
  })

  it('that is noticed late, on a busy machine, gave no more time than it was', () => {
    const clock = new FakeClock()
    clock.advance(1)
    const attempt = attemptOf(clock, 20, 200)
    expect(hadEnoughTime(stackOf(clock, usually(1)), attempt, clock.now())).toBe(false)
  })

  it('is not the peer’s once its answer has begun to stream', () => {
    const clock = new FakeClock()
    clock.advance(1)
    const attempt = attemptOf(clock, 5_000, 5_000)
    attempt.begun = true
    expect(hadEnoughTime(stackOf(clock, usually(1)), attempt, clock.now())).toBe(false)
  })
})

describe('the head of a stream', () => {
  const waited = (usual: TypicalLatency, ms: number): boolean => {
    const clock = new FakeClock()
    clock.advance(1)
    const attempt = new Attempt(callAt(clock, ms, { ...KIND, streaming: true }))
    attempt.startedAt = clock.now()
    clock.advance(ms)
    return hadEnoughTime(stackOf(clock, usual), attempt, clock.now())
  }

  it('is late after twice the slowest recent one, also where nothing but streams is called', () => {
    const usual = new TypicalLatency()
    usual.learnHead(100)
    expect([waited(usual, 190), waited(usual, 210)]).toEqual([false, true])
    // Heads that come when there is news say nothing of answers, and the other way round.
    usual.learnHead(2_000)
    usual.learn(10)
    expect([waited(usual, 210), blamed(60, usual)]).toEqual([false, true])
  })

  it('is expected as soon as answers are, before any was seen', () => {
    expect([waited(usually(10), 60), waited(new TypicalLatency(), 60)]).toEqual([true, false])
  })
})

describe('what is usual', () => {
  it('is the slowest of the last hundred or so answers, and stays while there are none', () => {
    const usual = usually(400, ...Array<number>(10).fill(10))
    expect(usual.enoughMs).toBeGreaterThan(500)
    for (let i = 0; i < 200; i++) usual.learn(10)
    expect(usual.enoughMs).toBe(50)
  })
})
