import type { RequestListener } from 'node:http'
import { describe, expect, it } from 'vitest'
import { opened } from './opened.ts'
import { makeRig, type Rig, type RigOptions, TestServer, until } from './rig.ts'

async function serve(handler: RequestListener): Promise<TestServer> {
  const server = await new TestServer(handler).listen()
  opened(server)
  return server
}

async function rigOver(servers: TestServer[], options?: RigOptions): Promise<Rig> {
  const rig = await makeRig(
    servers.map((server) => server.port),
    { hedge: { after: 20, maxExtraLoad: 1 }, ...options },
  )
  opened(rig)
  return rig
}

async function expectBalance(rig: Rig): Promise<void> {
  await until(() => rig.attempts.outcomes.length === rig.attempts.admitted)
  expect(rig.calls.outcomes.length).toBe(rig.calls.admitted)
  expect(rig.cluster.endpoints.every((endpoint) => endpoint.pending === 0)).toBe(true)
  expect(rig.endedCalls.length).toBe(rig.calls.admitted)
}

describe('a hedged HTTP call', () => {
  it('is answered by the second endpoint when the first hangs, whose request is cancelled', async () => {
    let gone = 0
    const stuck = await serve((_req, res) => {
      res.on('close', () => {
        gone += 1
      })
    })
    const well = await serve((_req, res) => res.end('well'))
    const rig = await rigOver([stuck, well])
    const res = await rig.http.get('/items')
    expect(await res.text()).toBe('well')
    await expectBalance(rig)
    expect(rig.attempts.outcomes.map((end) => end.verdict).toSorted()).toEqual(['cancelled', 'success'])
    await until(() => gone === 1)
    expect(rig.calls.outcomes[0]!.verdict).toBe('success')
  })

  it('cancels the other attempt as soon as a long answer begins, and hands that over whole', async () => {
    const big = Buffer.alloc(400_000, 'x')
    const stuck = await serve(() => {})
    const well = await serve((_req, res) => {
      res.writeHead(200, { 'content-length': big.length })
      res.write(big.subarray(0, 200_000))
      setTimeout(() => res.end(big.subarray(200_000)), 30)
    })
    const rig = await rigOver([stuck, well])
    const res = await rig.http.get('/download')
    expect(rig.attempts.outcomes.map((end) => end.verdict)).toEqual(['cancelled'])
    expect((await res.bytes()).length).toBe(400_000)
    await expectBalance(rig)
  })

  it('waits for the other attempt when one fails, in either order', async () => {
    for (const order of [0, 1]) {
      let slowAsked = false
      const broken = await serve(async (_req, res) => {
        await until(() => slowAsked)
        res.writeHead(500).end('broken')
      })
      const slow = await serve(async (_req, res) => {
        slowAsked = true
        await until(() => rig.attempts.outcomes.length === 1)
        res.end('slow')
      })
      const rig: Rig = await rigOver(order === 0 ? [broken, slow] : [slow, broken])
      const res = await rig.http.get('/items')
      expect([res.status, await res.text()]).toEqual([200, 'slow'])
      await expectBalance(rig)
      expect(rig.attempts.outcomes.map((end) => end.verdict).toSorted()).toEqual(['failure', 'success'])
    }
  })

  it('ends with a failure, and repeats, when both fail', async () => {
    const broken = await serve((_req, res) => setTimeout(() => res.writeHead(503).end('broken'), 50))
    const alsoBroken = await serve((_req, res) => setTimeout(() => res.writeHead(503).end('broken'), 50))
    const rig = await rigOver([broken, alsoBroken], { retry: { attempts: 3 } })
    const res = await rig.http.get('/items')
    expect([res.status, await res.text()]).toEqual([503, 'broken'])
    expect(rig.attempts.admitted).toBe(3)
    await expectBalance(rig)
  })

  it('ends both attempts when the caller gives up or the deadline passes', async () => {
    let requests = 0
    const stuck = await serve(() => {
      requests += 1
    })
    const rig = await rigOver([stuck, await serve(() => (requests += 1))])
    const controller = new AbortController()
    const asked = rig.http.get('/items', { signal: controller.signal })
    await until(() => requests === 2)
    controller.abort()
    await expect(asked).rejects.toMatchObject({ code: 'cancelled', sent: true })
    await expectBalance(rig)
    await expect(rig.http.get('/items', { timeout: 1_500 })).rejects.toMatchObject({ code: 'deadline-exceeded' })
    await expectBalance(rig)
    expect(rig.attempts.admitted).toBe(4)
  })

  it('is never a POST, unless it is declared idempotent', async () => {
    const slow = await serve((_req, res) => setTimeout(() => res.end('slow'), 80))
    const rig = await rigOver([slow, slow])
    await (await rig.http.post('/orders', 'x')).text()
    expect(rig.attempts.admitted).toBe(1)
    const declared = await serve(() => {})
    const other = await rigOver([declared, await serve((_req, res) => res.end('fast'))])
    expect(await (await other.http.post('/orders', 'x', { idempotent: true })).text()).toBe('fast')
    await expectBalance(other)
  })

  it('loses nothing among many calls of which some are late', async () => {
    let turn = 0
    const handler: RequestListener = (_req, res) => {
      turn += 1
      if (turn % 5 === 0) setTimeout(() => res.end('late'), 60)
      else res.end('soon')
    }
    const rig = await rigOver([await serve(handler), await serve(handler), await serve(handler)])
    for (let round = 0; round < 10; round++) {
      const answers = await Promise.all(Array.from({ length: 20 }, async () => (await rig.http.get('/')).text()))
      expect(answers.every((answer) => answer === 'late' || answer === 'soon')).toBe(true)
    }
    await expectBalance(rig)
    expect(rig.attempts.admitted).toBeGreaterThan(200)
    expect(rig.attempts.outcomes.filter((end) => end.verdict === 'success').length).toBe(200)
  })
})
