import { expect, it } from 'vitest'
import { Attempt } from '../../src/core/attempt.ts'
import { Endpoint } from '../../src/core/endpoint.ts'
import type { ErrorCode } from '../../src/core/errors.ts'
import { NOT_STARTED, SUCCESS } from '../../src/core/outcome.ts'
import type { Policy } from '../../src/core/policy.ts'
import { ClientThrottle, THROTTLE } from '../../src/resilience/limits/client-throttle.ts'
import { OwnedPolicies } from '../../src/resilience/owned-policies.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { callAt, endpoint, keepsItsPromises } from './conformance.ts'

keepsItsPromises('the policies of several owners', 'endpoint', (clock) => {
  let held = 0
  const counting: Policy = {
    name: 'counting',
    admit() {
      held += 1
      return undefined
    },
    settle() {
      held -= 1
    },
  }
  const throttle = new ClientThrottle('inventory', THROTTLE.resolve(), clock)
  return { policy: new OwnedPolicies(new Map([['inventory', [counting, throttle]]])), held: () => held }
})

const clock = new FakeClock()

function spy(name: string, log: string[], refusal?: ErrorCode): Policy {
  return {
    name,
    admit: () => {
      log.push(`${name} admits`)
      return refusal
    },
    settle: (_, { verdict, code }) => void log.push(`${name}: ${code ?? verdict}`),
    answered: () => void log.push(`${name} hears`),
  }
}

function attemptAt(service: string): Attempt {
  const attempt = new Attempt(callAt(clock))
  attempt.endpoint = new Endpoint(service, { ...endpoint('a') })
  return attempt
}

it('the policies of the service that owns the endpoint guard the attempt, and no others', () => {
  const log: string[] = []
  const policies = new OwnedPolicies(
    new Map([
      ['inventory', [spy('own', log)]],
      ['inventory-eu', [spy('throttle', log), spy('ejection', log)]],
    ]),
  )
  const attempt = attemptAt('inventory-eu')
  expect(policies.admit(attempt)).toBeUndefined()
  policies.answered(attempt)
  policies.settle(attempt, SUCCESS)
  expect(log).toEqual([
    'throttle admits',
    'ejection admits',
    'throttle hears',
    'ejection hears',
    'ejection: success',
    'throttle: success',
  ])
  expect(policies.admit(attemptAt('unknown'))).toBeUndefined()
})

it('if one of them refuses, those asked before it learn that nothing was started', () => {
  const log: string[] = []
  const policies = new OwnedPolicies(
    new Map([['inventory', [spy('first', log), spy('second', log, 'throttled'), spy('third', log)]]]),
  )
  expect(policies.admit(attemptAt('inventory'))).toBe('throttled')
  expect(log).toEqual(['first admits', 'second admits', `first: ${NOT_STARTED.code ?? NOT_STARTED.verdict}`])
})
