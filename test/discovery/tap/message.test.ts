/** Messages of taps with mistakes are refused; nothing unknown gets further. */
import { describe, expect, test } from 'vitest'
import { readServerMessage } from '../../../src/discovery/registry/message-reader.ts'
import { readTap, readTapped } from '../../../src/discovery/tap/message.ts'

const TAP = { type: 'tap', tap: 't1', service: 'inventory', headers: ['x-tenant'], perSecond: 20, forMs: 60_000 }
const CALL = { at: 1, to: 'inventory', protocol: 'http', method: 'GET', ms: 1.5, attempts: 1 }

describe('a tap', () => {
  test('is read from its line without unknown keys', () => {
    const line = JSON.stringify({ ...TAP, path: '/items/{id}', statuses: ['5xx'], more: 1 })
    expect(readServerMessage(line)).toEqual({ ...TAP, path: '/items/{id}', statuses: ['5xx'] })
    expect(readServerMessage('{"type":"untap","tap":"t1","more":1}')).toEqual({ type: 'untap', tap: 't1' })
  })

  test.each([
    ['tap', { tap: '' }],
    ['service', { service: 'In Ventory' }],
    ['from', { from: 7 }],
    ['path', { path: 'items' }],
    ['path', { path: '/items?x=1' }],
    ['method', { method: 'get it' }],
    ['statuses', { statuses: ['6xx'] }],
    ['statuses', { statuses: Array(21).fill('500') }],
    ['headers', { headers: ['authorization'] }],
    ['headers', { headers: ['X-Tenant'] }],
    ['headers', { headers: ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'] }],
    ['headers', { headers: undefined }],
    ['perSecond', { perSecond: 1_000 }],
    ['forMs', { forMs: 600_001 }],
  ])('with a wrong %s is refused: %j', (name, wrong) => {
    expect(() => readTap({ ...TAP, ...wrong })).toThrow(new RegExp(`^${name}`))
  })
})

describe('tapped calls', () => {
  test('are read without unknown keys, and their texts without what terminals obey', () => {
    const call = { ...CALL, path: '/\u202eitems', headers: { 'x-tenant': '\u001b[2J' }, side: 'client', more: 1 }
    expect(readTapped({ type: 'tapped', tap: 't1', calls: [call], left: 3 })).toEqual({
      type: 'tapped',
      tap: 't1',
      calls: [{ ...CALL, path: '/\\u{202e}items', headers: { 'x-tenant': '\\u{1b}[2J' } }],
      left: 3,
    })
  })

  test.each([
    [{ calls: 'x' }],
    [{ calls: Array(51).fill(CALL) }],
    [{ calls: [null] }],
    [{ calls: [{ ...CALL, to: '../x' }] }],
    [{ calls: [{ ...CALL, path: 'x'.repeat(1_025) }] }],
    [{ calls: [{ ...CALL, method: 7 }] }],
    [{ calls: [{ ...CALL, status: -1 }] }],
    [{ calls: [{ ...CALL, ms: 'fast' }] }],
    [{ calls: [{ ...CALL, headers: { cookie: 'a=b' } }] }],
    [{ calls: [], left: -1 }],
  ])('with a mistake are refused: %j', (wrong) => {
    expect(() => readTapped({ type: 'tapped', tap: 't1', ...wrong })).toThrow(/expected|is no object/)
  })
})
