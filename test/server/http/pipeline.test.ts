import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { TIMEOUT } from '../../../src/core/headers.ts'
import type { Authorizer } from '../../../src/server/authorization/authorizer.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import { ask, OneAtATime, sendRaw, serve, serverStack } from '../rig.ts'

const get = (path: string, headers = ''): string => `GET ${path} HTTP/1.1\r\nhost: a\r\n${headers}\r\n`
const LAST = 'connection: close\r\n'

async function open(port: number): Promise<{ socket: Socket; text: () => string }> {
  const socket = connect(port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  let text = ''
  socket.on('data', (data: Buffer) => {
    text += data.toString()
  })
  await once(socket, 'connect')
  return { socket, text: () => text }
}

const bodies = (text: string): string[] => [...text.matchAll(/<(.*?)>/g)].map(([, path]) => path!)
const numbers = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `/${from + i}`)

describe('requests sent ahead of the answers', () => {
  it('are served one at a time, in order, and none is lost', async () => {
    let running = 0
    let most = 0
    const { server } = await serve(async (request, response) => {
      running += 1
      most = Math.max(most, running)
      await new Promise(setImmediate)
      running -= 1
      response.end(`<${request.url}>`)
    })
    const paths = numbers(0, 6_000)
    const text = await sendRaw(server.port, paths.map((path) => get(path)).join('') + get('/last', LAST))
    expect(bodies(text)).toEqual([...paths, '/last'])
    expect(most).toBe(1)
  })

  it('are left in the network while enough of them wait', async () => {
    const release = Promise.withResolvers<void>()
    let started = 0
    const { server } = await serve(
      async (request, response) => {
        started += 1
        await release.promise
        response.end(request.url === '/last' ? '<last>' : '')
      },
      {},
      { stack: serverStack([], 60_000) },
    )
    const { socket, text } = await open(server.port)
    // More than the buffers of both systems take.
    const megabyte = get('/', `x: ${'x'.repeat(1_000)}\r\n`).repeat(1_000)
    for (let i = 0; i < 32; i++) socket.write(megabyte)
    await expect.poll(() => started).toBe(1)
    const stands = async (): Promise<boolean> => {
      const left = socket.writableLength
      await new Promise((resolve) => setTimeout(resolve, 100))
      return left > 0 && socket.writableLength === left
    }
    await expect.poll(stands, { timeout: 50_000 }).toBe(true)
    expect(started).toBe(1)
    socket.write(get('/last', LAST))
    release.resolve()
    await expect.poll(text, { timeout: 50_000, interval: 50 }).toContain('<last>')
    expect(text().match(/HTTP\/1\.1 200/g)).toHaveLength(32_001)
  })

  it('behind one that is to be the last are passed over, and those before it are answered', async () => {
    const seen: unknown[] = []
    const { server } = await serve((request, response) => {
      seen.push(request.url)
      setImmediate(() => response.end())
    })
    const text = await sendRaw(server.port, get('/1') + get('/2', LAST) + get('/3') + get('/4'))
    expect(seen).toEqual(['/1', '/2'])
    expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(2)
  })

  it('have waited for their turn in the time that their caller allows', async () => {
    const seen: unknown[] = []
    const { server } = await serve(async (request, response) => {
      seen.push(request.url)
      await new Promise((resolve) => setTimeout(resolve, 100))
      response.end()
    })
    const text = await sendRaw(server.port, get('/1') + get('/2', `${TIMEOUT}: 50\r\n`) + get('/3', LAST))
    expect(seen).toEqual(['/1', '/3'])
    expect([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)).toEqual(['200', '504', '200'])
  })

  it('are refused in their turn, and those behind them are served', async () => {
    const authorizer: Authorizer = { authorize: (_call, { path }) => ({ allowed: path !== '/no', rule: 'none' }) }
    const { server } = await serve(
      async (request, response) => {
        await new Promise(setImmediate)
        response.end(`<${request.url}>`)
      },
      {},
      { authorizer },
    )
    const text = await sendRaw(
      server.port,
      get('/1') + get('/no') + get('/no') + get('/2') + get('/no') + get('/3', LAST),
    )
    expect(bodies(text)).toEqual(['/1', '/2', '/3'])
    expect(text.match(/HTTP\/1\.1 403/g)).toHaveLength(3)
  })

  it('never begin once their client has gone, and take no room', async () => {
    const aborted: unknown[] = []
    const limit = new OneAtATime()
    const { server } = await serve(
      (request, response) => {
        if (request.url === '/ok') response.end('<ok>')
        else currentCall()!.signal.addEventListener('abort', () => aborted.push(request.url))
      },
      {},
      { stack: serverStack([limit]) },
    )
    const { socket } = await open(server.port)
    socket.write(get('/1') + get('/2') + get('/3'))
    await expect.poll(() => server.stats.inFlight).toBe(1)
    socket.destroy()
    await expect.poll(() => server.stats.inFlight).toBe(0)
    expect(aborted).toEqual(['/1'])
    expect((await ask(server.port, { path: '/ok' })).body).toBe('<ok>')
  })

  it('have their own context: none of the handler before them', async () => {
    const tenant = new AsyncLocalStorage<string>()
    const seen: unknown[] = []
    const { server } = await serve((request, response) => {
      seen.push([request.url, tenant.getStore()])
      tenant.run(request.url!, () => setImmediate(() => response.end()))
    })
    await sendRaw(server.port, get('/1') + get('/2') + get('/3', LAST))
    expect(seen).toEqual(['/1', '/2', '/3'].map((path) => [path, undefined]))
  })

  it('may have bodies', async () => {
    const { server } = await serve(async (request, response) => {
      let bytes = 0
      for await (const chunk of request) bytes += (chunk as Buffer).length
      response.end(`<${bytes}>`)
    })
    const post = (length: number, more = ''): string =>
      `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n${more}\r\n${'x'.repeat(length)}`
    const lengths = Array.from({ length: 60 }, (_, i) => i * 10_000)
    const text = await sendRaw(server.port, lengths.map((length) => post(length)).join('') + post(7, LAST))
    expect(bodies(text)).toEqual([...lengths.map(String), '7'])
  })

  it('that are cut in two by the pause end their connection after the answers, not before', async () => {
    const release = Promise.withResolvers<void>()
    let started = 0
    const { server } = await serve(
      async (request, response) => {
        started += 1
        await release.promise
        response.end(`<${request.url}>`)
      },
      { headersTimeout: '3s', requestTimeout: '3s' },
    )
    const { socket, text } = await open(server.port)
    const paths = numbers(0, 40)
    socket.write(`${paths.map((path) => get(path)).join('')}GET /half HTTP/1.1\r\nho`)
    await expect.poll(() => started).toBe(1)
    setTimeout(release.resolve, 4_500)
    await once(socket, 'close')
    expect(bodies(text())).toEqual(paths)
  })
})
