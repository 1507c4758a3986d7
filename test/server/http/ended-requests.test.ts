import { AsyncLocalStorage } from 'node:async_hooks'
import { createConnection } from 'node:net'
import express from 'express'
import { describe, expect, it, vi } from 'vitest'
import { guard } from '../../../src/resilience/guard/guard.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import type { HttpHandler } from '../../../src/server/http/application.ts'
import { until } from '../../client/http/rig.ts'
import { ask, serve } from '../rig.ts'
import { serverStack } from '../server-stack.ts'

const PATIENT = { timeout: 30_000 }

const withContext = <T>(work: () => T): (() => T) => AsyncLocalStorage.bind(work)

/** A call as a handler, or what it leaves behind, makes it. */
const local = guard(async () => 'ran')

async function call(): Promise<string> {
  try {
    return await local()
  } catch (error) {
    return (error as { code: string }).code
  }
}

const DEADLINE = { 'inmesh-timeout-ms': '100' }

/**
 * Resolves when the deadline that came with a request has passed, and the sweep that looks for it
 * has had its turn.
 */
const beyond = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 400))

describe('what a request leaves behind', () => {
  it('makes calls after the answer, whatever the deadline was; work after a 202 goes on', async () => {
    let later: Promise<string> | undefined
    const { server } = await serve(async (_req, res) => {
      res.writeHead(202).end()
      later = beyond().then(async () => `${await call()}, ${currentCall()!.method}, ${currentCall()!.remainingMs}`)
      expect(currentCall()!.signal.aborted).toBe(false)
      await later
    })
    expect((await ask(server.port, { method: 'POST', headers: DEADLINE })).status).toBe(202)
    expect(await later).toBe('ran, POST, Infinity')
  })

  it('is not cancelled by the answer if it was begun before', async () => {
    const ends: ((value: string) => void)[] = []
    const background: Promise<string>[] = []
    const slow = guard(() => new Promise<string>((resolve) => ends.push(resolve)))
    const { server } = await serve((_req, res) => {
      background.push(slow())
      res.end('ok')
    })
    await ask(server.port, {})
    await ask(server.port, {})
    for (const end of ends) end('went on')
    expect(await Promise.all(background)).toEqual(['went on', 'went on'])
  })

  it('binds nobody when the caller went away and the handler has ended', async () => {
    const seen: string[] = []
    let look: () => Promise<string> = call
    let go: () => void = () => {}
    const { server } = await serve(async (_req, res) => {
      const { signal } = currentCall()!
      look = withContext(call)
      seen.push(await call())
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      // In vain, so it is not made.
      seen.push(await call())
      await new Promise<void>((resolve) => {
        go = resolve
      })
      res.end('nobody reads this')
    })
    const socket = createConnection(server.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    await until(() => seen.length === 1)
    socket.destroy()
    await until(() => seen.length === 2)
    expect(seen).toEqual(['ran', 'cancelled'])
    expect(await look()).toBe('cancelled')
    go()
    await vi.waitFor(async () => expect(await look()).toBe('ran'), PATIENT)
  })

  it('does not lift the deadline while the handler of a late request still runs', async () => {
    let look: () => Promise<string> = call
    let go: () => void = () => {}
    const { server } = await serve(async () => {
      look = withContext(call)
      await new Promise<void>((resolve) => {
        go = resolve
      })
    })
    expect((await ask(server.port, { headers: { 'inmesh-timeout-ms': '20' } })).status).toBe(504)
    expect(['cancelled', 'deadline-exceeded']).toContain(await look())
    go()
    await vi.waitFor(async () => expect(await look()).toBe('ran'), PATIENT)
  })

  const callbackStyle: HttpHandler = (_req, res) => {
    remembered.look = withContext(call)
    remembered.res = res
  }
  const app = express()
  app.get('/', async (_req, res) => {
    remembered.look = withContext(call)
    remembered.res = res
    await new Promise(() => {})
  })
  const remembered: { look?: () => Promise<string>; res?: { end(): unknown; destroyed: boolean } } = {}

  it.each([
    ['a callback', callbackStyle],
    ['Express', app as unknown as HttpHandler],
  ])('binds nobody when %s has ended the response that nobody reads', async (_what, handler) => {
    delete remembered.res
    const { server } = await serve(handler)
    const socket = createConnection(server.port, '127.0.0.1')
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
    await until(() => remembered.res !== undefined)
    socket.destroy()
    await vi.waitFor(async () => expect(await remembered.look!()).toBe('cancelled'), PATIENT)
    remembered.res!.end()
    expect(await remembered.look!()).toBe('ran')
  })
})

describe('a long answer', () => {
  it('is bound by the caller’s own deadline, and by the server’s only until its head', async () => {
    const seen: string[] = []
    const { server } = await serve(
      async (_req, res) => {
        seen.push(await call())
        res.writeHead(200, { 'content-type': 'text/event-stream' })
        res.write('data: 1\n\n')
        await beyond()
        seen.push(await call(), String(currentCall()!.remainingMs))
        res.end()
      },
      {},
      { stack: serverStack([], 100) },
    )
    expect((await ask(server.port, {})).status).toBe(200)
    expect(seen).toEqual(['ran', 'ran', 'Infinity'])
  })
})

describe('currentCall', () => {
  it('is that of the request within a guarded function, also in its retries', async () => {
    const seen: (string | undefined)[] = []
    const work = guard(
      async () => {
        seen.push(currentCall()?.method)
        if (seen.length === 1) throw new Error('again')
        return 'ok'
      },
      { retry: { attempts: 2, backoff: { base: 1 } }, timeout: '10s' },
    )
    const { server } = await serve(async (_req, res) => res.end(await work()))
    await ask(server.port, { method: 'PUT' })
    expect(seen).toEqual(['PUT', 'PUT'])
  })
})
