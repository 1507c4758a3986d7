import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterEach, describe, expect, it } from 'vitest'
import { HttpClient } from '../../../src/client/http/client.ts'
import type { MeshError } from '../../../src/core/errors.ts'
import { classify } from '../../../src/resilience/classification.ts'
import { makeRig, type Rig, type RigOptions } from './rig.ts'

let server: Server | undefined
let rig: Rig | undefined

afterEach(() => {
  rig?.close()
  server?.closeAllConnections()
  server?.close()
})

const big = Buffer.alloc(4_000_000, 'x')

async function serve(listener: RequestListener, options: RigOptions = {}): Promise<Rig> {
  server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  rig = await makeRig([(server.address() as AddressInfo).port], { retry: { attempts: 1 }, ...options })
  return rig
}

async function until(holds: () => boolean, step?: () => void): Promise<void> {
  while (!holds()) {
    step?.()
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

const STREAMING = { streaming: true } as const

describe('a long answer', () => {
  it('that is not read fails after idleTimeout, which is nobody’s fault, and its connection is free', async () => {
    const { http, calls, attempts } = await serve((_req, res) => res.end(big), {
      idleMs: 100,
      connections: { maxConnections: 1 },
    })
    const unread = await http.get('/', STREAMING)
    // Waits for the one connection.
    const other = await http.get('/', STREAMING)
    expect((await other.bytes()).length).toBe(big.length)
    const error = (await unread.bytes().catch((thrown: unknown) => thrown)) as MeshError
    expect([error.code, (error.cause as Error).message]).toEqual([
      'cancelled',
      'nothing of the answer was read for 100 ms (idleTimeout)',
    ])
    expect([...calls.outcomes, ...attempts.outcomes].map(classify)).toContain('none')
    expect([...calls.outcomes, ...attempts.outcomes].map(classify)).not.toContain('hard')
  })

  it('may have an idleTimeout of its own or of its client, and with fetch', async () => {
    const { http, fetch, calls } = await serve((_req, res) => res.end(big))
    await http.get('/', { ...STREAMING, idleTimeout: '50ms' })
    await fetch('http://inventory/', { ...STREAMING, idleTimeout: 50 })
    await until(() => calls.outcomes.length === 2)
    expect(calls.outcomes.map(({ code }) => code)).toEqual(['cancelled', 'cancelled'])
    const client = new HttpClient(rig!, [], undefined, 50)
    await client.get('/', STREAMING)
    await until(() => calls.outcomes.length === 3)
    expect(calls.outcomes[2]!.code).toBe('cancelled')
    // A call's own goes before that of its client.
    const patient = await client.get('/', { ...STREAMING, idleTimeout: '1m' })
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect((await patient.bytes()).length).toBe(big.length)
    await expect(http.get('/', { idleTimeout: 'soon' as never })).rejects.toThrow(/idleTimeout.*10 ms to 24 h.*soon/)
    await expect(fetch('http://inventory/', { idleTimeout: 0 })).rejects.toThrow(/idleTimeout.*10 ms to 24 h/)
  })

  it('that is read slowly goes on', async () => {
    const { http } = await serve((_req, res) => res.end(big.subarray(0, 1_000_000)), { idleMs: 300 })
    const reader = (await http.get('/', STREAMING)).body.getReader()
    let bytes = 0
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      bytes += value.length
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    expect(bytes).toBe(1_000_000)
  })

  it('of a silent peer goes on, whether it is waited for or has been read so far', async () => {
    let say!: () => void
    const { http } = await serve(
      (_req, res) => {
        res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
        say = () => res.end('data: 2\n\n')
      },
      { idleMs: 50 },
    )
    const reader = (await http.get('/', STREAMING)).body.getReader()
    await reader.read()
    await new Promise((resolve) => setTimeout(resolve, 250))
    const next = reader.read()
    await new Promise((resolve) => setTimeout(resolve, 250))
    say()
    expect(Buffer.from((await next).value!).toString()).toBe('data: 2\n\n')
  })

  it('that the program has dropped gives its connection back when it is collected', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const { http, fetch, calls } = await serve((req, res) => {
      if (req.url === '/events') res.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      else res.end(big)
    })
    await (async () => {
      await http.get('/', STREAMING)
      await fetch('http://inventory/', STREAMING)
      void (await fetch('http://inventory/events', STREAMING)).body
    })()
    await until(() => calls.outcomes.length === 3, collect)
    expect(calls.outcomes.map(({ code }) => code)).toEqual(['cancelled', 'cancelled', 'cancelled'])
  })

  it('of which the program still holds the stream, or waits for the rest, is kept', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    let goOn!: () => void
    const { http, calls } = await serve((req, res) => {
      if (req.url === '/rest') {
        res.write(big.subarray(0, 100_000))
        goOn = () => res.end('end')
      } else res.end(big)
    })
    const { body } = await http.get('/', STREAMING)
    const rest = (await http.get('/rest', STREAMING)).bytes()
    for (let i = 0; i < 20; i++) {
      collect()
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(calls.outcomes).toHaveLength(0)
    goOn()
    expect((await rest).length).toBe(100_003)
    await body.cancel()
  })

  it('that nobody has begun to read is given up for those who wait for its connection', async () => {
    const held: unknown[] = []
    const { http } = await serve((_req, res) => res.end(big), { connections: { maxConnections: 2 }, timeoutMs: 60_000 })
    held.push(await http.get('/', STREAMING))
    const read = await http.get('/', STREAMING)
    const reader = read.body.getReader()
    await reader.read()
    expect((await (await http.get('/', STREAMING)).bytes()).length).toBe(big.length)
    // The one that is read is kept.
    let bytes = 0
    for (let next = await reader.read(); !next.done; next = await reader.read()) bytes += next.value.length
    expect(bytes).toBeGreaterThan(3_000_000)
    await expect((held[0] as typeof read).bytes()).rejects.toThrow(/not read, and others waited/)
  })

  it('is read from the peer no faster than by its reader, and sent no faster than the peer takes it', async () => {
    const total = 50_000_000
    const chunk = Buffer.alloc(1_000_000, 'x')
    let written = 0
    const { http } = await serve(async (req, res) => {
      if (req.method === 'POST') {
        await new Promise((resolve) => setTimeout(resolve, 300))
        written = given
        let bytes = 0
        for await (const part of req) bytes += (part as Buffer).length
        res.end(String(bytes))
        return
      }
      for (; written < total; written += chunk.length) if (!res.write(chunk)) await once(res, 'drain')
      res.end()
    })
    let given = 0
    const source = (async function* () {
      for (; given < total; given += chunk.length) yield chunk
    })()
    expect(await (await http.post('/', source)).text()).toBe(String(total))
    expect(written).toBeLessThan(total / 2)

    written = 0
    const answer = await http.get('/', STREAMING)
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(written).toBeLessThan(total / 2)
    let bytes = 0
    for await (const part of answer.body) bytes += part.length
    expect(bytes).toBe(total)
  })
})
