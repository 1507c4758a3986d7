/** The weights that a client gives to what it accepts. */
import { describe, expect, test } from 'vitest'
import { acceptsGzip, qualityValues } from '../../src/net/quality-values.ts'

describe('gzip', () => {
  test.each([
    'gzip',
    'deflate, GZIP;q=0.5',
    'gzip, deflate, br, zstd',
    '*',
    'br, *;q=0.1',
    'x-gzip',
    'gzip ; q=1.0, identity; q=0.5',
    'identity;q=0, gzip;q=0.1',
  ])('is sent to a client that accepts %s', (header) => {
    expect(acceptsGzip(header)).toBe(true)
  })

  test.each([
    undefined,
    '',
    'identity',
    'gzip;q=0',
    'gzip;Q=0.000, *',
    '*;q=0',
    'br, *;q=0',
    'identity, gzip;q=0.5',
    'gzip;q=x',
    'gzipped',
    'x-gzip-y, br',
  ])('is not sent to a client that accepts %s', (header) => {
    expect(acceptsGzip(header)).toBe(false)
  })
})

test('a weight is of the name that it stands beside, and the larger of two counts', () => {
  expect([...qualityValues('text/plain;version=1;q=0.2, A/B, text/plain;q=0.7,,')]).toEqual([
    ['text/plain', 0.7],
    ['a/b', 1],
  ])
})
