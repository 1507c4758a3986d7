import { describe, expect, it } from 'vitest'
import { isSecretHeader, redact, redactText } from '../../src/telemetry/redact.ts'

describe('redact', () => {
  it('replaces secrets by name and by look, at any depth', () => {
    const shown = redact({
      a: [{ password: 'p', authorization: 'x', 'set-cookie': 'c', clientSecret: 1, privateKey: 'k', private_key: 'k' }],
      join_token: 't',
      text: 'Bearer abc',
      jwt: 'eyJhbGciOi.eyJzdWIi.sig',
      key: Buffer.from('k'),
    })
    expect(JSON.stringify(shown).match(/\[redacted\]/g)).toHaveLength(10)
  })

  it('keeps everything else as JSON can hold it', () => {
    const value = {
      timeoutMs: Number.POSITIVE_INFINITY,
      tokens: 3,
      hasToken: true,
      token: undefined,
      roots: new Set(['r']),
      services: new Map([['a', 1n]]),
      cause: new Error('boom'),
      filter: () => 1,
      nothing: null,
    }
    expect(JSON.parse(JSON.stringify(redact(value)))).toEqual({
      timeoutMs: 'Infinity',
      tokens: 3,
      hasToken: true,
      roots: ['r'],
      services: { a: '1' },
      cause: 'boom',
      nothing: null,
    })
  })

  it('ends on a cycle', () => {
    const cycle: Record<string, unknown> = {}
    cycle.self = cycle
    expect(JSON.stringify(redact(cycle))).toContain('[too deep]')
  })
})

describe('redactText', () => {
  it.each([
    'x eyJhbGciOi.eyJzdWIi.sig',
    '/a-eyJhbGciOi.eyJzdWIi.',
    'inmesh-admin.AAAA.BBBB',
    'https://user:pass@registry:7400',
    '-----BEGIN EC PRIVATE KEY-----',
    `${'a'.repeat(200)} eyJhbGciOi.${'b'.repeat(200)}.${'c'.repeat(200)}`,
    `${'a'.repeat(200)} eyJ${'b'.repeat(200)}.c.d`,
  ])('does not show %s, also when it is cut within it', (text) => {
    expect(redactText(text, 256)).toBe('[redacted]')
  })

  it.each(['/eyJ', 'eyJabc.', 'eyJabc..', '/v1/eyJ-abc/x.y', 'http://a:80/b@c'])('shows %s', (text) => {
    expect(redactText(text, 256)).toBe(text)
  })

  it('cuts what is too long', () => {
    expect(redactText('a'.repeat(300), 256)).toBe(`${'a'.repeat(253)}...`)
  })
})

it('knows headers that hold secrets by their names, and leaves others', () => {
  const secret = ['authorization', 'proxy-authorization', 'cookie', 'set-cookie', 'x-api-key', 'x-auth', 'x-auth-key']
  secret.push('x-amz-security-token', 'x-functions-key', 'ocp-apim-subscription-key', 'x-hub-signature-256', 'x-otp')
  secret.push('x-shopify-hmac-sha256', 'x-csrf', 'x-session-id', 'x-forwarded-client-cert')
  expect(secret.filter((name) => !isSecretHeader(name))).toEqual([])
  const open = ['x-request-id', 'idempotency-key', 'sec-websocket-key', 'user-agent', 'x-author', 'x-tenant', 'host']
  expect(open.filter(isSecretHeader)).toEqual([])
})
