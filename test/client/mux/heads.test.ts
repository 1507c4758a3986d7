/** Heads that are long, and heads that no peer would take. */
import { expect, it } from 'vitest'
import { serve } from '../../server/rig.ts'
import { failure } from '../http/opened.ts'
import { answer, clientOf, peer } from './peers.ts'

it('a head of 40 KB arrives, and a server of HTTP answers it with 431 as over HTTP/1.1', async () => {
  const plain = await peer((stream) => answer(stream))
  const long = { headers: { 'x-long': 'a'.repeat(40_000) } }
  expect((await (await clientOf([plain.port])).http.get('/', long)).status).toBe(200)
  const { server, failures } = await serve((_request, response) => void response.end('ok'), {}, { transport: 'auto' })
  const rig = await clientOf([server.port], { retry: { attempts: 1 } })
  expect((await rig.http.get('/')).status).toBe(200)
  expect((await rig.http.get('/', long)).status).toBe(431)
  expect((await rig.http.get('/', { headers: { 'x-long': 'a'.repeat(10_000) } })).status).toBe(200)
  expect([failures, rig.transport.connections]).toEqual([[], 1])
})

it.each([
  ['longer than a frame', { 'x-long': 'a'.repeat(70_000) }, /head.*61440/],
  ['with a name that is too long', { [`x-${'a'.repeat(300)}`]: 'b' }, /x-aaa/],
])('a head %s fails its call alone, unsent and with one attempt', async (_what, headers, words) => {
  const server = await peer((stream, path) => {
    if (path !== '/held') answer(stream)
    else setTimeout(answer, 100, stream)
  })
  const rig = await clientOf([server.port])
  const beside = rig.http.get('/held')
  const error = await failure(rig.http.get('/', { headers }))
  expect(error.code).toBe('invalid-options')
  expect(error.sent).toBe(false)
  expect(error.attempts.length).toBeLessThanOrEqual(1)
  expect(`${error.message} ${String(error.cause)}`).toMatch(words)
  expect((await beside).status).toBe(200)
  expect((await rig.http.post('/', 'body', { idempotent: true })).status).toBe(200)
  expect(server.executed).toEqual(['/held', '/'])
  expect(rig.attempts.outcomes.filter(({ verdict }) => verdict === 'failure' || verdict === 'refused')).toEqual([])
})
