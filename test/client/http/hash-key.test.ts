import { describe, expect, it } from 'vitest'
import { checkKey } from '../../../src/client/call-options.ts'
import { hashKeyOf } from '../../../src/client/http/hash-key.ts'
import { PreparedRequest } from '../../../src/client/http/prepare-request.ts'

function keyOf(source: { header?: string; cookie?: string; path?: boolean }, headers: string[], path = '/') {
  const { header, cookie } = source
  return hashKeyOf({ header, cookie, path: source.path === true }, new PreparedRequest('GET', path, headers, undefined))
}

describe('the key of a request', () => {
  it('is the header, the cookie or the path that the policy names', () => {
    expect(keyOf({ header: 'x-user' }, ['accept', '*/*', 'x-user', 'ada'])).toBe('ada')
    expect(keyOf({ cookie: 'sid' }, ['cookie', 'lang=en; sid=42 ;theme=dark'])).toBe('42')
    expect(keyOf({ path: true }, [], '/items/42?full=1')).toBe('/items/42')
    expect(keyOf({ path: true }, [], '/items/42')).toBe('/items/42')
  })

  it('is the first of several that the request has', () => {
    const source = { header: 'x-user', cookie: 'sid', path: true }
    expect(keyOf(source, ['x-user', 'ada', 'cookie', 'sid=42'], '/a')).toBe('ada')
    expect(keyOf(source, ['x-user', '', 'cookie', 'sid=42'], '/a')).toBe('42')
    expect(keyOf(source, ['cookie', 'xsid=1; sid='], '/a')).toBe('/a')
  })

  it('is none if the request has none of them', () => {
    expect(keyOf({ header: 'x-user', cookie: 'sid' }, ['cookie', 'sidd=1; xsid=2; sid'])).toBeUndefined()
  })

  it('is text of a sensible length when it is given with the request', () => {
    expect(checkKey('ada')).toBe('ada')
    for (const wrong of ['', 5, 'x'.repeat(4_097)]) expect(() => checkKey(wrong)).toThrow(/request: key: expected text/)
  })
})
