/** Bounds of requests over `inmesh/1` whose caller set none: a fake clock, over real sockets. */
import { describe, expect, it, onTestFinished } from 'vitest'
import type { HttpListener } from '../../../src/server/http/application.ts'
import type { HttpServer } from '../../../src/server/http/server.ts'
import { FakeClock } from '../../../src/testing/fake-clock.ts'
import { MuxClient } from '../../rigs/mux-client.ts'
import { OneAtATime, serve, serverStack } from '../rig.ts'

const TIMEOUT_MS = 3_000
const CHECK_MS = 10_001
/** Shorter than the peer may be silent. */
const STEP_MS = 2_001

interface Bounded {
  readonly clock: FakeClock
  readonly limit: OneAtATime
  readonly client: MuxClient
  readonly server: HttpServer
}

async function bounded(handler: HttpListener): Promise<Bounded> {
  const clock = new FakeClock({ wallNow: Date.now() })
  const limit = new OneAtATime()
  const stack = serverStack([limit], TIMEOUT_MS)
  const { server } = await serve(handler, {}, { clock, stack, transport: 'auto' })
  const client = await MuxClient.open(server.port)
  onTestFinished(() => client.close())
  return { clock, limit, client, server }
}

/** Lets the time of a check pass, while the peer shows that it is there. */
async function check({ clock, client }: Bounded): Promise<void> {
  for (let ms = 0; ms < CHECK_MS; ms += STEP_MS) {
    clock.advance(STEP_MS)
    await client.roundTrip()
  }
}

describe('a request without a deadline', () => {
  it("is answered with 504 when the service's own timeout has passed", async () => {
    const { clock, limit, client } = await bounded(() => {})
    const { done } = client.ask()
    await expect.poll(() => limit.running).toBe(1)
    clock.advance(TIMEOUT_MS + 1)
    expect((await done).status).toBe(504)
    await expect.poll(() => limit.running).toBe(0)
  })

  it('is bounded while its body trickles, and is not while it moves', async () => {
    for (const moves of [false, true]) {
      let received = 0
      const all = await bounded((request) => void request.on('data', (part: Buffer) => (received += part.length)))
      const { limit, client } = all
      const asked = client.ask({ method: 'POST', headers: { 'content-length': '1000000' }, open: true })
      await expect.poll(() => limit.running).toBe(1)
      for (let i = 0; i < 6 && (moves || asked.status === 0); i++) {
        const before = received
        asked.stream.write(Buffer.alloc(moves ? 2_000 : 2))
        await expect.poll(() => received > before || asked.status !== 0).toBe(true)
        await check(all)
      }
      if (moves) expect([asked.status, limit.running]).toEqual([0, 1])
      else {
        expect((await asked.head).status).toBe(504)
        await expect.poll(() => limit.running).toBe(0)
      }
      client.cancel(asked)
      await expect.poll(() => limit.running).toBe(0)
    }
  })

  it('ends when its reader takes nothing, and not while it takes something; the connection stays', async () => {
    const body = Buffer.alloc(32 * 1024 * 1024)
    for (const reads of [false, true]) {
      const all = await bounded((request, response) => void response.end(request.url === '/short' ? 'short' : body))
      const { limit, client, server } = all
      const asked = client.ask({ reads: false })
      asked.done.catch(() => {})
      await expect.poll(() => asked.unread).toBeGreaterThan(200_000)
      await expect.poll(() => limit.running).toBe(1)
      for (let i = 0; i < 6; i++) {
        if (reads) {
          const before = asked.unread
          asked.stream.read(150_000)
          await expect.poll(() => asked.unread).toBeGreaterThan(before)
        }
        await check(all)
      }
      if (reads) expect([asked.stream.closed, limit.running]).toEqual([false, 1])
      else {
        await expect.poll(() => limit.running).toBe(0)
        await expect(asked.done).rejects.toThrow('reset')
        expect((await client.ask({ path: '/short' }).done).body).toBe('short')
      }
      expect(server.stats.connections).toBe(1)
      client.cancel(asked)
      await expect.poll(() => limit.running).toBe(0)
    }
  })

  it('stays open as a stream of events that has nothing to say', async () => {
    const all = await bounded(
      (_request, response) =>
        void response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n'),
    )
    const { limit, client } = all
    const asked = await client.ask().head
    await expect.poll(() => asked.body).toContain('data: 1')
    for (let i = 0; i < 20; i++) await check(all)
    expect(limit.running).toBe(1)
    client.cancel(asked)
    await expect.poll(() => limit.running).toBe(0)
  })
})
