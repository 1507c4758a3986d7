import { expect, it } from 'vitest'
import { Call, type CallKind } from '../../src/core/call.ts'
import { outcome } from '../../src/core/outcome.ts'
import type { Protocol } from '../../src/core/protocol.ts'
import { errorType } from '../../src/telemetry/error-type.ts'

const callOf = (protocol: Protocol): Call => {
  const kind: CallKind = { service: 'inventory', method: 'GET', protocol, streaming: false, idempotent: true }
  return new Call(kind, 0, Number.POSITIVE_INFINITY, undefined)
}

it('is the status, where that says that the call failed', () => {
  expect(errorType(callOf('http'), outcome('failure', 'overloaded', undefined, 503), 503)).toBe('503')
  expect(errorType(callOf('grpc'), outcome('failure', 'server-error', undefined, 13), 13)).toBe('INTERNAL')
})

it('is the code, where the status is good, where there is none, and where the caller gave up', () => {
  const lost = outcome('failure', 'connection-lost')
  expect(errorType(callOf('http'), lost, 200)).toBe('connection-lost')
  expect(errorType(callOf('http'), lost, 101)).toBe('connection-lost')
  expect(errorType(callOf('tcp'), lost, undefined)).toBe('connection-lost')
  expect(errorType(callOf('grpc'), lost, 0)).toBe('connection-lost')
  expect(errorType(callOf('http'), outcome('cancelled', 'cancelled'), 503)).toBe('cancelled')
})
