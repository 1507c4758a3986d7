import { describe, expect, it } from 'vitest'
import { resolveFaults } from '../../../src/resilience/fault-injection.ts'
import { ask, serve, serverStack } from '../rig.ts'

describe('a server with faults on purpose', () => {
  it('fails, delays or serves as the rules say, and tells each fault', async () => {
    let served = 0
    const { server, events } = await serve(
      (_request, response) => {
        served += 1
        response.end('served')
      },
      {
        faults: [
          { status: 503, headers: { 'x-fault': 'fail' } },
          { delay: 60, headers: { 'x-fault': 'wait' } },
          { delay: 20, status: 500, headers: { 'x-fault': 'both' } },
        ],
      },
    )
    const asked = (fault: string) => ask(server.port, { headers: { 'x-fault': fault } })
    const failed = await asked('fail')
    expect(failed.status).toBe(503)
    // The handler may have run, so a call that must not be repeated is not.
    expect(failed.headers['inmesh-not-executed']).toBeUndefined()
    expect(served).toBe(0)
    const begun = performance.now()
    expect(await asked('wait')).toMatchObject({ status: 200, body: 'served' })
    expect(performance.now() - begun).toBeGreaterThan(50)
    expect((await asked('both')).status).toBe(500)
    expect(await asked('none')).toMatchObject({ status: 200 })
    expect(served).toBe(2)
    expect(events.of('fault:injected').map(({ delayMs, status }) => [delayMs, status])).toEqual([
      [0, 503],
      [60, 0],
      [20, 500],
    ])
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })

  it('takes those of the document in force from its stack', async () => {
    const { server } = await serve((_request, response) => response.end('served'), {})
    expect((await ask(server.port)).status).toBe(200)
    server.stack = { ...serverStack(), faults: resolveFaults([{ status: 502 }]) }
    expect((await ask(server.port)).status).toBe(502)
    server.stack = serverStack()
    expect((await ask(server.port)).status).toBe(200)
  })

  it('does not wait for a delayed request whose deadline passes', async () => {
    const { server } = await serve((_request, response) => response.end('served'), { faults: [{ delay: '5s' }] })
    const answer = await ask(server.port, { headers: { 'inmesh-timeout-ms': '80' } })
    expect(answer.status).toBe(504)
    await expect.poll(() => server.stats.inFlight).toBe(0)
  })
})
