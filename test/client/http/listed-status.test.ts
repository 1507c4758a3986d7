import { describe, expect, it } from 'vitest'
import { always } from '../../rigs/scripted-server.ts'
import { opened, rigOver, serve } from './opened.ts'
import { makeRig, TestServer } from './rig.ts'

const LISTED = { retry: { statuses: [404, 425], attempts: 3 } }

/** Answers `status` to the first `times` requests, then 200. */
async function late(status: number, times: number): Promise<TestServer & { asked: number }> {
  const server = Object.assign(
    new TestServer((req, res) => {
      req.resume()
      server.asked += 1
      if (server.asked <= times) res.writeHead(status).end('not yet')
      else res.end('here')
    }),
    { asked: 0 },
  )
  await server.listen()
  opened(server)
  return server
}

describe('a 4xx that retry.statuses lists', () => {
  it('is worth another attempt of an idempotent call', async () => {
    const server = await late(404, 2)
    const rig = await rigOver([server.port], LISTED)
    const res = await rig.http.get('/')
    expect([res.status, await res.text(), server.asked]).toEqual([200, 'here', 3])
  })

  it('is tried on another endpoint', async () => {
    const early = await serve(always(425, 'early'))
    const good = await serve(always(200, 'ok'))
    const rig = await rigOver([early.port, good.port], LISTED)
    for (let i = 0; i < 4; i++) expect((await rig.http.get('/')).status).toBe(200)
    expect(early.connections).toBe(1)
  })

  it('is a success of its endpoint and of the call', async () => {
    const rig = await rigOver([(await serve(always(404, 'none'))).port], LISTED)
    const res = await rig.http.get('/')
    expect([res.status, await res.text()]).toEqual([404, 'none'])
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success', 'success', 'success'])
    expect(rig.calls.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })

  it('is the answer of a POST, of retry: false, and when the budget is used up', async () => {
    const { port } = await serve(always(404, 'none'))
    const rig = await rigOver([port], LISTED)
    expect((await rig.http.post('/', 'x')).status).toBe(404)
    expect((await rig.http.get('/', { retry: false })).status).toBe(404)
    expect(rig.attempts.admitted).toBe(2)
    const poor = await rigOver([port], { paidRetries: 0, retry: { ...LISTED.retry, budget: { ratio: 0 } } })
    expect(await (await poor.http.get('/')).text()).toBe('none')
    expect(poor.attempts.admitted).toBe(1)
  })

  it('waits as long as retry-after asks, and not beyond the deadline', async () => {
    const rig = await rigOver([(await serve(always(425, 'early', { 'retry-after': '60' }))).port], LISTED)
    expect((await rig.http.get('/', { timeout: 20_000 })).status).toBe(425)
    expect(rig.attempts.admitted).toBe(1)
  })

  it('is final at once when it is not listed', async () => {
    const server = await late(404, 1)
    const rig = await makeRig([server.port], { retry: { statuses: [503] } })
    opened(rig)
    expect((await rig.http.get('/')).status).toBe(404)
    expect(server.asked).toBe(1)
  })
})
