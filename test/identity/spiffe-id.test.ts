import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  authorityId,
  formatSpiffeId,
  parseSpiffeId,
  registryId,
  serviceId,
  serviceOf,
} from '../../src/identity/spiffe-id.ts'
import { OptionsError } from '../../src/options/fields.ts'

describe('a SPIFFE ID', () => {
  test('is read into trust domain and path', () => {
    expect(parseSpiffeId('spiffe://mesh.test/service/checkout')).toEqual({
      trustDomain: 'mesh.test',
      path: '/service/checkout',
    })
    expect(parseSpiffeId('spiffe://mesh.test')).toEqual({ trustDomain: 'mesh.test', path: '' })
    expect(parseSpiffeId('spiffe://m_1-x/A.b/..c')).toEqual({ trustDomain: 'm_1-x', path: '/A.b/..c' })
  })

  test.each([
    '',
    'spiffe://',
    'spiffe:///a',
    'spiffe:/mesh.test/a',
    'https://mesh.test/a',
    'SPIFFE://mesh.test/a',
    'spiffe://Mesh.test/a',
    'spiffe://mesh.test/',
    'spiffe://mesh.test/a/',
    'spiffe://mesh.test//a',
    'spiffe://mesh.test/a/../b',
    'spiffe://mesh.test/./b',
    'spiffe://mesh.test:443/a',
    'spiffe://user@mesh.test/a',
    'spiffe://mesh.test/a?b',
    'spiffe://mesh.test/a#b',
    'spiffe://mesh.test/a%20b',
    'spiffe://mesh.test/a b',
    'spiffe://mesh.test/a\n',
    'spiffe://mesh.test/a,URI:spiffe://mesh.test/b',
    'spiffe://müsh.test/a',
    `spiffe://${'a'.repeat(256)}/a`,
    `spiffe://mesh.test/${'a'.repeat(2048)}`,
  ])('is refused when it is %j', (text) => {
    expect(parseSpiffeId(text)).toBeUndefined()
  })

  test('of up to 2,048 bytes is supported', () => {
    const text = `spiffe://mesh.test/${'a'.repeat(2048 - 'spiffe://mesh.test/'.length)}`
    expect(text).toHaveLength(2048)
    expect(parseSpiffeId(text)).toBeDefined()
  })

  test('that was formatted is read back, and what is read back formats to the same text', () => {
    const segment = fc.stringMatching(/^[A-Za-z0-9._-]{1,12}$/).filter((s) => s !== '.' && s !== '..')
    const id = fc.record({
      trustDomain: fc.stringMatching(/^[a-z0-9._-]{1,30}$/),
      path: fc.array(segment, { maxLength: 4 }).map((all) => all.map((s) => `/${s}`).join('')),
    })
    fc.assert(fc.property(id, (given) => void expect(parseSpiffeId(formatSpiffeId(given))).toEqual(given)))
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.webUrl(),
          fc.string().map((s) => `spiffe://a/${s}`),
        ),
        (text) => {
          const parsed = parseSpiffeId(text)
          if (parsed !== undefined) expect(formatSpiffeId(parsed)).toBe(text)
        },
      ),
    )
  })
})

describe('our names', () => {
  test('are made for services, the registry and the authority, and services are found back', () => {
    expect(serviceId('mesh.test', 'checkout')).toBe('spiffe://mesh.test/service/checkout')
    expect(registryId('mesh.test')).toBe('spiffe://mesh.test/registry')
    expect(authorityId('mesh.test')).toBe('spiffe://mesh.test')
    expect(serviceOf('spiffe://mesh.test/service/checkout', 'mesh.test')).toBe('checkout')
  })

  test.each([
    'spiffe://other.test/service/checkout',
    'spiffe://mesh.test/registry',
    'spiffe://mesh.test/service',
    'spiffe://mesh.test/service/a/b',
    'spiffe://mesh.test/service/UPPER',
    'spiffe://mesh.test/services/checkout',
    'nonsense',
  ])('no service is seen in %j', (id) => {
    expect(serviceOf(id, 'mesh.test')).toBeUndefined()
  })

  test('with invalid parts are refused with the field', () => {
    expect(() => serviceId('mesh.test', '../registry')).toThrow(/service: expected a service name, got "..\/registry"/)
    expect(() => serviceId('Mesh', 'a')).toThrow(OptionsError)
    expect(() => formatSpiffeId({ trustDomain: 'a/b', path: '/c' })).toThrow(OptionsError)
  })
})
