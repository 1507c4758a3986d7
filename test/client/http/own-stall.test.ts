import type { RequestListener } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import type { MeshError } from '../../../src/core/errors.ts'
import { makeRig, type Rig, TestServer } from './rig.ts'

let server: TestServer | undefined
let rig: Rig | undefined

afterEach(async () => {
  rig?.close()
  await server?.close()
})

async function serve(listener: RequestListener): Promise<Rig> {
  server = await new TestServer(listener).listen()
  rig = await makeRig([server.port], { retry: { attempts: 1 } })
  return rig
}

function stall(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

describe('a stall of our own event loop', () => {
  it('longer than the timeout costs no call: the peer has the time back', async () => {
    const { http, attempts } = await serve((_req, res) => setTimeout(() => res.end('fine'), 30))
    // Connections of as many calls.
    await Promise.all(Array.from({ length: 40 }, () => http.get('/')))
    const calls = Array.from({ length: 40 }, () => http.get('/', { timeout: 500 }))
    stall(1_200)
    expect((await Promise.all(calls)).map(({ status }) => status)).toEqual(Array(40).fill(200))
    expect(attempts.outcomes.every(({ verdict }) => verdict === 'success')).toBe(true)
  })

  it('is made up for once: a peer that never answers is given up all the same', async () => {
    const { http } = await serve((req) => req.resume())
    const call = http.get('/', { timeout: 200 })
    stall(700)
    const error = (await call.catch((thrown: unknown) => thrown)) as MeshError
    expect(error.code).toBe('deadline-exceeded')
  })
})
