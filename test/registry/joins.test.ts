/**
 * Joining under load: who has a valid token waits for a moment at most, and guesses cost the
 * guesser only.
 */
import { afterEach, expect, test } from 'vitest'
import { type Registry, startRegistry } from '../../src/registry/index.ts'
import { type Answer, csrOf, newKey, request } from '../rigs/registry-session.ts'

let registry: Registry
afterEach(() => registry.close())

const join = (service: string, token?: string) =>
  request(registry, 'POST', '/v1/join', { body: { service, csr: csrOf(newKey()), token } })

test('processes with valid tokens that start together from one address all get in', async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false, signingsPerSecond: 20 })
  const token = await registry.createJoinToken({ service: 'stock', uses: 60 })
  const answers = await Promise.all(Array.from({ length: 60 }, () => join('stock', token)))
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
})

test('500 processes of one service that start together get in by the default limits, and can all renew together', async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  const token = await registry.createJoinToken({ service: 'stock', uses: 500 })
  const key = newKey()
  const csr = csrOf(key)
  const crowd = (ask: () => Promise<Answer>): Promise<Answer[]> => Promise.all(Array.from({ length: 500 }, ask))
  const joined = await crowd(() => request(registry, 'POST', '/v1/join', { body: { service: 'stock', csr, token } }))
  expect(new Set(joined.map(({ status }) => status))).toEqual(new Set([200]))
  const credentials = { key, cert: joined[0]!.json.certificate }
  const renewed = await crowd(() => request(registry, 'POST', '/v1/renew', { credentials, body: { csr } }))
  expect(new Set(renewed.map(({ status }) => status))).toEqual(new Set([200]))
}, 300_000)

test('guesses from the same address take nothing from those with a valid token', async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false, joinsPerSecond: 1, signingsPerSecond: 1 })
  const guesses = await Promise.all(Array.from({ length: 30 }, () => join('stock', `inmesh-join.${'A'.repeat(43)}`)))
  expect(new Set(guesses.map(({ json }) => json.error.code))).toEqual(new Set(['token-unknown', 'rate-limited']))
  const token = await registry.createJoinToken({ service: 'stock' })
  expect((await join('stock', token)).status).toBe(200)
})

test('a join that waits in vain for its turn does not cost a use of its token', async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false, signingsPerSecond: 1 })
  const token = await registry.createJoinToken({ service: 'stock', uses: 40 })
  const answers = await Promise.all(Array.from({ length: 20 }, () => join('stock', token)))
  const joined = answers.filter(({ status }) => status === 200).length
  expect(joined).toBeLessThan(20)
  expect(answers.filter(({ status }) => status === 429)).toHaveLength(20 - joined)
  const { tokens } = (await request(registry, 'GET', '/v1/tokens', { admin: true })).json
  expect(tokens[0].usesLeft).toBe(40 - joined)
})

test('a body that is larger than any join is refused before it is read', async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  const body = { service: 'a', csr: 'x'.repeat(100_000) }
  const answer = await request(registry, 'POST', '/v1/join', { body }).catch((error: NodeJS.ErrnoException) => error)
  // The answer may come while the body is still being sent.
  if (answer instanceof Error) expect(['EPIPE', 'ECONNRESET']).toContain(answer.code)
  else expect(answer.status).toBe(413)
})

test('a token of another root or kind proves nothing, whatever its secret', async () => {
  registry = await startRegistry({ port: 0, memory: true, log: false })
  const token = await registry.createJoinToken({ service: 'stock' })
  const admin = registry.adminToken!
  const elsewhere = (text: string): string => text.slice(0, -43) + 'A'.repeat(43)
  for (const foreign of [elsewhere(token), token.replace('-join', '-admin'), admin, admin.replace('-admin', '-join')]) {
    expect((await join('stock', foreign)).json.error.code).toBe('token-unknown')
  }
  const authorized = (text: string) =>
    request(registry, 'GET', '/v1/audit', { headers: { authorization: `Bearer ${text}` } })
  expect((await authorized(elsewhere(admin))).status).toBe(403)
  expect((await authorized(token.replace('-join', '-admin'))).status).toBe(403)
  expect((await authorized(admin)).status).toBe(200)
  expect((await join('stock', token)).status).toBe(200)
})
