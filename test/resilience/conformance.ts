/**
 * What every policy must keep, whatever it is for: it answers synchronously, never throws, and
 * after any mixture of success, failure, cancellation and refusal by others it has given back all
 * it held.
 */
import { describe, expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Call, type CallKind } from '../../src/core/call.ts'
import { Endpoint } from '../../src/core/endpoint.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import { NOT_STARTED, type Outcome, outcome, SUCCESS } from '../../src/core/outcome.ts'
import type { Policy } from '../../src/core/policy.ts'
import { SILENT } from '../../src/core/telemetry.ts'
import { answerBegins, endAttempt, endCall, startAttempt, startCall } from '../../src/resilience/execution.ts'
import { RETRY } from '../../src/resilience/retry.ts'
import { compileEndpointlessStack, type Stack } from '../../src/resilience/stack.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

export const KIND: CallKind = Object.freeze({
  service: 'inventory',
  method: 'GET',
  protocol: 'http',
  streaming: false,
  idempotent: true,
})

export function endpoint(id: string, weight = 1): Endpoint {
  return new Endpoint('inventory', {
    id,
    address: '127.0.0.1',
    port: 8080,
    protocol: 'http',
    tls: true,
    zone: undefined,
    version: undefined,
    weight,
    metadata: { 'hash-key': id },
  })
}

export function callAt(clock: FakeClock, deadlineMs = 10_000, route: CallKind = KIND): Call {
  return new Call(route, clock.now(), clock.now() + deadlineMs, undefined)
}

export const FAILURE: Outcome = outcome('failure', 'server-error', undefined, 500)

const ENDS: readonly Outcome[] = [
  SUCCESS,
  FAILURE,
  outcome('failure', 'attempt-timeout'),
  outcome('failure', 'overloaded', undefined, 429, 2_000),
  outcome('refused', 'connect-failed'),
  outcome('refused', 'refused-by-peer', undefined, 503),
  outcome('refused', 'concurrency-limited'),
  outcome('cancelled', 'cancelled'),
  NOT_STARTED,
]

export interface Subject {
  readonly policy: Policy
  /** True if an attempt would be admitted when nothing is in flight and much time has passed. */
  readonly held: () => number
}

/** Refuses every second attempt, so that those before it must take back what they gave. */
class RefusesSometimes implements Policy {
  readonly name = 'refuses-sometimes'
  #count = 0
  admit(): ErrorCode | undefined {
    this.#count += 1
    return this.#count % 2 === 0 ? 'throttled' : undefined
  }
  settle(): void {}
}

function stackOf(policy: Policy, clock: FakeClock, part: 'service' | 'endpoint'): Stack {
  const both = [policy, new RefusesSometimes()]
  return part === 'service'
    ? compileEndpointlessStack(10_000, SILENT, clock, both, [], RETRY.defaults)
    : compileEndpointlessStack(10_000, SILENT, clock, [], both, RETRY.defaults)
}

/** The suite. `held` says how many permits and probes the policy still counts as taken. */
export function keepsItsPromises(
  name: string,
  part: 'service' | 'endpoint',
  make: (clock: FakeClock) => Subject,
): void {
  describe(`${name} keeps what every policy promises`, () => {
    it.each(ENDS)('gives back what it held after %j', (end) => {
      const clock = new FakeClock()
      const { policy, held } = make(clock)
      const at = endpoint('a')
      for (let i = 0; i < 50; i++) {
        const attempt = new Attempt(callAt(clock))
        attempt.endpoint = at
        attempt.startedAt = clock.now()
        if (policy.admit(attempt) !== undefined) continue
        clock.advance(5)
        policy.settle(attempt, end)
      }
      expect(held()).toBe(0)
    })

    it.each(ENDS)('settles once what has begun to answer and then ends with %j', (end) => {
      const clock = new FakeClock()
      const { policy, held } = make(clock)
      const at = endpoint('a')
      for (let i = 0; i < 50; i++) {
        const attempt = new Attempt(callAt(clock))
        attempt.endpoint = at
        attempt.startedAt = clock.now()
        if (policy.admit(attempt) !== undefined) continue
        clock.advance(5)
        policy.answered?.(attempt)
        clock.advance(500)
        policy.settle(attempt, end)
      }
      expect(held()).toBe(0)
    })

    it('is in balance after random ends, overlapping, with a later policy that refuses', () => {
      const clock = new FakeClock({ seed: 3 })
      const { policy, held } = make(clock)
      const stack = stackOf(policy, clock, part)
      const running: Attempt[] = []
      const at = [endpoint('a'), endpoint('b')]
      for (let i = 0; i < 3_000; i++) {
        clock.advance(clock.random() * 40)
        if (clock.random() < 0.55) {
          const call = callAt(clock, 1e9)
          startCall(stack, call)
          const attempt = new Attempt(call)
          attempt.endpoint = at[i % 2]
          const refusal = startAttempt(stack, attempt)
          if (refusal === undefined) running.push(attempt)
          else endCall(stack, call, outcome('refused', refusal))
        } else if (running.length > 0) {
          const [attempt] = running.splice(Math.floor(clock.random() * running.length), 1)
          if (clock.random() < 0.3) answerBegins(stack, attempt!)
          const wait = endAttempt(stack, attempt!, ENDS[Math.floor(clock.random() * ENDS.length)]!)
          if (wait >= 0) endCall(stack, attempt!.call, outcome('cancelled', 'cancelled'))
        }
      }
      for (const attempt of running) {
        endAttempt(stack, attempt, outcome('cancelled', 'cancelled'))
      }
      expect(held()).toBe(0)
      expect(at[0]!.pending + at[1]!.pending).toBe(0)
      expect(at[0]!.oldest ?? at[0]!.newest).toBeUndefined()
    })

    it('lets an attempt through again when nothing is in flight and time has passed', () => {
      const clock = new FakeClock({ seed: 9 })
      const { policy } = make(clock)
      const at = endpoint('a')
      for (const end of [...ENDS, ...ENDS, ...ENDS]) {
        for (let i = 0; i < 30; i++) {
          const attempt = new Attempt(callAt(clock))
          attempt.endpoint = at
          attempt.startedAt = clock.now()
          if (policy.admit(attempt) === undefined) policy.settle(attempt, end)
        }
      }
      clock.advance(60_000)
      const attempt = new Attempt(callAt(clock))
      attempt.endpoint = at
      attempt.startedAt = clock.now()
      expect(policy.admit(attempt)).toBeUndefined()
      policy.settle(attempt, SUCCESS)
      expect(at.state).toBe('healthy')
    })
  })
}
