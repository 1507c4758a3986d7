/** TCP through the mesh: members of one registry, over mTLS. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { currentCall, isMeshError, type Mesh, type MeshError } from '../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../src/testing/index.ts'
import { deadPort } from '../rigs/dead-port.ts'
import { echo, tcpTarget } from '../rigs/tcp-target.ts'

let testMesh: TestMesh

beforeEach(async () => {
  testMesh = await startTestMesh()
})
afterEach(() => testMesh.close())

/** What an open connection brings first; the connection stays open. */
async function greeting(socket: Socket): Promise<string> {
  const [chunk] = await once(socket, 'data')
  return String(chunk)
}

async function failureOf(socket: Socket): Promise<MeshError> {
  const [error] = await once(socket, 'error')
  expect(isMeshError(error)).toBe(true)
  return error
}

/** The kinds of the last events. */
function told(mesh: Mesh, name: string): unknown[] {
  return mesh.events().flatMap((event) => (event.name === name ? [event.payload] : []))
}

async function ask(socket: Socket, question: string): Promise<string> {
  socket.end(question)
  return text(socket)
}

describe('a connection through the mesh', () => {
  it('is one of its handler and its caller, who are known to each other', async () => {
    const redis = await testMesh.join('redis')
    let peer: string | undefined
    await redis.listen('redis', (socket) => {
      peer = currentCall()?.peer?.service
      echo(socket)
    })
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis')
    const closed = once(socket, 'close')
    expect([socket.connecting, socket.pending, socket.readyState]).toEqual([true, true, 'opening'])
    socket.write('written before it is connected; ')
    await once(socket, 'connect')
    expect([socket.connecting, socket.readyState, socket.remoteAddress]).toEqual([false, 'open', '127.0.0.1'])
    expect(await ask(socket, 'and after')).toBe('written before it is connected; and after')
    await closed
    expect([socket.bytesWritten, socket.bytesRead, socket.readyState]).toEqual([41, 41, 'closed'])
    expect(peer).toBe('checkout')
  })

  it('is forwarded to an address or a Unix socket', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'inmesh-tcp-'))
    try {
      const targets = [await tcpTarget(echo), await tcpTarget(echo, { path: join(directory, 'redis.sock') })]
      const checkout = await testMesh.join('checkout')
      for (const [i, { address }] of targets.entries()) {
        const service = `redis-${i}`
        const redis = await testMesh.join(service)
        await redis.listen(service, { target: address })
        expect(await ask(checkout.connect(service), 'PING')).toBe('PING')
      }
    } finally {
      rmSync(directory, { recursive: true, force: true })
    }
  })

  it('half-closes on either side, and the other goes on', async () => {
    const { address } = await tcpTarget((socket) => {
      socket.end('I am done; ')
      void text(socket).then((said) => answers.push(said))
    })
    const answers: string[] = []
    const redis = await testMesh.join('redis')
    await redis.listen('redis', { target: address })
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis', { allowHalfOpen: true })
    const closed = once(socket, 'close')
    expect(await text(socket)).toBe('I am done; ')
    expect([socket.readable, socket.writable]).toEqual([false, true])
    socket.end('I was not')
    await closed
    await expect.poll(() => answers).toEqual(['I was not'])
    const other = checkout.connect('redis')
    const otherClosed = once(other, 'close')
    other.resume()
    // Without the option, the end of the peer is ours, as of every socket of Node.
    await otherClosed
    expect(other.writableEnded).toBe(true)
  })

  it('breaks on one side when it breaks on the other', async () => {
    const { address, sockets } = await tcpTarget((socket) => {
      socket.write('hello')
      socket.resume().once('end', () => socket.end())
    })
    const redis = await testMesh.join('redis')
    await redis.listen('redis', { target: address })
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis')
    expect(await greeting(socket)).toBe('hello')
    const lost = once(socket, 'error')
    for (const one of sockets) one.resetAndDestroy()
    expect((await lost)[0]).toMatchObject({ code: 'ECONNRESET' })
    const next = checkout.connect('redis')
    expect(await greeting(next)).toBe('hello')
    next.destroy()
    await expect.poll(() => sockets.size).toBe(0)
  })

  it('carries much at the pace of a slow reader, without keeping it in memory', async () => {
    const total = 48 * 1024 * 1024
    let produced = 0
    const { address } = await tcpTarget((socket) => {
      const chunk = Buffer.alloc(65_536, 'x')
      const more = (): void => {
        while (produced < total) {
          produced += chunk.length
          if (!socket.write(chunk)) {
            socket.once('drain', more)
            return
          }
        }
        socket.end()
      }
      more()
    })
    const redis = await testMesh.join('redis')
    await redis.listen('redis', { target: address })
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis')
    await once(socket, 'connect')
    let before = -1
    while (produced !== before) {
      before = produced
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    // The kernel's buffers of two connections, and small ones of ours.
    expect(produced).toBeLessThan(24 * 1024 * 1024)
    let read = 0
    for await (const chunk of socket) read += chunk.length
    expect(read).toBe(total)
  })

  it('holds its writer when its target does not read, and ends well when that goes on', async () => {
    const total = 48 * 1024 * 1024
    const accepted = Promise.withResolvers<Socket>()
    const { address } = await tcpTarget((socket) => {
      socket.pause()
      accepted.resolve(socket)
    })
    const redis = await testMesh.join('redis')
    await redis.listen('redis', { target: address })
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis')
    const chunk = Buffer.alloc(65_536, 'x')
    let written = 0
    const more = (): void => {
      while (written < total) {
        written += chunk.length
        if (!socket.write(chunk)) {
          socket.once('drain', more)
          return
        }
      }
      socket.end()
    }
    more()
    const target = await accepted.promise
    let before = -1
    while (written !== before) {
      before = written
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    // The kernel's buffers of two connections, and small ones of ours.
    expect(written).toBeLessThan(24 * 1024 * 1024)
    expect(socket.writableLength).toBeLessThan(1024 * 1024)
    let read = 0
    for await (const part of target) read += (part as Buffer).length
    expect(read).toBe(total)
  })

  it('is one of a thousand', { timeout: 180_000 }, async () => {
    await testMesh.apply([{ service: 'redis', timeout: '2m' }])
    const redis = await testMesh.join('redis')
    await redis.listen('redis', echo)
    const checkout = await testMesh.join('checkout')
    const sockets = Array.from({ length: 1_000 }, () => checkout.connect('redis', { timeout: '2m' }))
    const failures: unknown[] = []
    for (const socket of sockets) socket.on('error', (error) => failures.push(error))
    const answers = await Promise.all(
      sockets.map((socket, i) => {
        socket.write(String(i))
        return greeting(socket)
      }),
    )
    expect(failures).toEqual([])
    expect(answers).toEqual(sockets.map((_, i) => String(i)))
    expect(checkout.metrics()).toMatch(/inmesh_client_tcp_connections\{service="checkout",peer="redis"\} 1000\n/)
    expect(redis.metrics()).toMatch(/inmesh_server_tcp_connections\{service="redis",peer="checkout"\} 1000\n/)
    for (const socket of sockets) socket.destroy()
    await expect.poll(() => redis.metrics()).toMatch(/inmesh_server_tcp_connections\{[^}]*\} 0\n/)
    expect(checkout.metrics()).toMatch(/inmesh_client_tcp_connections\{[^}]*\} 0\n/)
  })

  it('is counted on both sides, with its bytes and how it ended', async () => {
    const redis = await testMesh.join('redis')
    await redis.listen('redis', echo)
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis')
    const closed = once(socket, 'close')
    expect(await ask(socket, 'four')).toBe('four')
    await closed
    const labels = 'service="checkout",peer="redis"'
    const client = checkout.metrics()
    expect(client).toContain(`inmesh_client_tcp_opened_total{${labels}} 1\n`)
    expect(client).toContain(`inmesh_client_tcp_closed_total{${labels},code="ok"} 1\n`)
    expect(client).toContain(`inmesh_client_tcp_bytes_total{${labels},direction="sent"} 4\n`)
    expect(client).toContain(`inmesh_client_tcp_bytes_total{${labels},direction="received"} 4\n`)
    expect(client).toContain(`inmesh_client_tcp_duration_seconds_count{${labels}} 1\n`)
    expect(client).toMatch(/inmesh_client_requests_total\{[^}]*method="connect"[^}]*code="ok"\} 1\n/)
    const server = 'service="redis",peer="checkout"'
    await expect.poll(() => redis.metrics()).toContain(`inmesh_server_tcp_closed_total{${server},code="ok"} 1\n`)
    expect(redis.metrics()).toContain(`inmesh_server_tcp_bytes_total{${server},direction="received"} 4\n`)
    expect(redis.metrics()).toContain(`inmesh_server_tcp_bytes_total{${server},direction="sent"} 4\n`)
  })
})

describe('who may connect', () => {
  it('is said by rules with tcp alone', async () => {
    await testMesh.apply([{ service: 'redis', allow: [{ from: 'checkout', tcp: true }, { from: 'reporter' }] }])
    const redis = await testMesh.join('redis')
    let served = 0
    await redis.listen('redis', (socket) => {
      served += 1
      echo(socket)
    })
    const [checkout, reporter] = [await testMesh.join('checkout'), await testMesh.join('reporter')]
    expect(await ask(checkout.connect('redis'), 'PING')).toBe('PING')
    const denied = await failureOf(reporter.connect('redis'))
    expect([denied.code, denied.sent, denied.attempts.length]).toEqual(['permission-denied', false, 1])
    expect(told(redis, 'intention:denied')).toMatchObject([{ peer: 'reporter', method: 'connect', reason: 'default' }])
    expect(served).toBe(1)
    const { targets } = await reporter.explain({ service: 'redis', protocol: 'tcp' })
    expect(targets[0]!.intention).toMatchObject({ allowed: false, rule: 'default' })
    expect(targets[0]!.endpoints).toHaveLength(1)
  })

  it('is asked again when rules change: connections that they no longer allow are reset, the others stay', async () => {
    const rule = (from: string) => ({ from, tcp: true })
    await testMesh.apply([{ service: 'redis', allow: [rule('checkout'), rule('reporter')] }])
    const [target, redis] = [await tcpTarget(echo), await testMesh.join('redis')]
    const server = await redis.listen('redis', { target: target.address })
    const [checkout, reporter] = [await testMesh.join('checkout'), await testMesh.join('reporter')]
    const [kept, revoked] = [checkout.connect('redis'), reporter.connect('redis')]
    for (const socket of [kept, revoked]) {
      socket.write('hello')
      expect(await greeting(socket)).toBe('hello')
    }
    const lost = once(revoked, 'error')
    await testMesh.apply([{ service: 'redis', allow: [rule('checkout')] }])
    expect((await lost)[0]).toMatchObject({ code: 'ECONNRESET' })
    await expect.poll(() => [server.stats.inFlight, target.sockets.size]).toEqual([1, 1])
    expect(told(redis, 'intention:denied')).toMatchObject([{ peer: 'reporter', method: 'connect', reason: 'default' }])
    expect(redis.metrics()).toMatch(/tcp_closed_total\{[^}]*peer="reporter",code="permission-denied"\} 1\n/)
    expect(await failureOf(reporter.connect('redis'))).toMatchObject({ code: 'permission-denied' })
    expect(await ask(kept, ' again')).toBe(' again')
  })

  it('is no one of another protocol', async () => {
    const redis = await testMesh.join('redis')
    await redis.listen('redis', echo)
    const checkout = await testMesh.join('checkout')
    await expect(checkout.fetch('http://redis/', { timeout: '200ms' } as never)).rejects.toMatchObject({
      code: 'deadline-exceeded',
    })
  })
})

describe('connecting', () => {
  it('goes on to another instance when one is down, and takes that out of the choice', async () => {
    await testMesh.apply([{ service: 'redis', balancer: 'round-robin' }])
    const [down, up] = [await testMesh.join('redis'), await testMesh.join('redis')]
    await down.listen('redis', { target: `127.0.0.1:${await deadPort()}` })
    await up.listen('redis', echo)
    const checkout = await testMesh.join('checkout')
    for (let i = 0; i < 20; i++) expect(await ask(checkout.connect('redis'), 'PING')).toBe('PING')
    expect(told(down, 'target:unreachable').length).toBeGreaterThan(0)
    expect(told(checkout, 'endpoint:ejected')).toHaveLength(1)
    expect(checkout.metrics()).toMatch(/inmesh_client_retries_total\{[^}]*code="connect-failed"\} [1-9]/)
  })

  it('fails with the reason when no instance can be reached, and tells that nothing was sent', async () => {
    const redis = await testMesh.join('redis')
    await redis.listen('redis', { target: `127.0.0.1:${await deadPort()}` })
    const checkout = await testMesh.join('checkout')
    const error = await failureOf(checkout.connect('redis'))
    expect([error.code, error.sent, error.service, error.method]).toEqual(['connect-failed', false, 'redis', 'connect'])
    expect(error.message).toMatch(/it could not connect to its target/)
    const single = await failureOf(checkout.connect('redis', { retry: false }))
    expect(single.attempts).toHaveLength(1)
  })

  it('gives up a target that does not accept in time', async () => {
    // Its queue of connections is full, and it never takes one.
    const script = `require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () {
      require('node:fs').writeSync(1, String(this.address().port))
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 60_000)
    })`
    const stuck = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [port] = (await once(stuck.stdout!, 'data')).map(Number)
    const waiting = Array.from({ length: 16 }, () => connect(port!, '127.0.0.1').on('error', () => {}))
    try {
      await Promise.all(waiting.slice(0, 2).map((socket) => once(socket, 'connect')))
      const redis = await testMesh.join('redis')
      const server = await redis.listen('redis', { target: `127.0.0.1:${port}`, connectTimeout: '200ms' })
      const checkout = await testMesh.join('checkout')
      const error = await failureOf(checkout.connect('redis', { retry: false }))
      expect([error.code, error.sent]).toEqual(['connect-failed', false])
      expect(told(redis, 'target:unreachable')).toMatchObject([{ reason: 'no connection within 200 ms' }])
      await expect.poll(() => server.stats.connections).toBe(0)
    } finally {
      for (const socket of waiting) socket.destroy()
      stuck.kill('SIGKILL')
    }
  })

  it('is tried by health checks, which take a dead instance out of the choice', async () => {
    await testMesh.apply([
      { service: 'redis', healthCheck: { interval: '500ms', timeout: '400ms', unhealthyAfter: 1 } },
    ])
    const [down, up] = [await testMesh.join('redis'), await testMesh.join('redis')]
    await down.listen('redis', { target: `127.0.0.1:${await deadPort()}` })
    await up.listen('redis', echo)
    const checkout = await testMesh.join('checkout')
    expect(await ask(checkout.connect('redis'), 'PING')).toBe('PING')
    await expect
      .poll(() => told(checkout, 'endpoint:ejected'))
      .toContainEqual(expect.objectContaining({ reason: 'health-check' }))
  })

  it('waits for the first instance, and no longer than its timeout', async () => {
    const checkout = await testMesh.join('checkout')
    const error = await failureOf(checkout.connect('redis', { timeout: '100ms' }))
    expect(error.code).toBe('deadline-exceeded')
    const early = checkout.connect('redis', { timeout: '50s' })
    const redis = await testMesh.join('redis')
    await redis.listen('redis', echo)
    expect(await ask(early, 'PING')).toBe('PING')
  })

  it('is bounded while a server does not admit it', async () => {
    await testMesh.apply([{ service: 'redis', faults: [{ delay: '1m' }] }])
    const redis = await testMesh.join('redis')
    await redis.listen('redis', echo)
    const checkout = await testMesh.join('checkout')
    const error = await failureOf(checkout.connect('redis', { timeout: '150ms' }))
    expect(['deadline-exceeded', 'connect-failed']).toContain(error.code)
    expect(error.sent).toBe(false)
  })

  it('is spread by the balancer of the service, and by key with a hashing one', async () => {
    await testMesh.apply([{ service: 'redis', balancer: 'round-robin' }])
    for (const name of ['a', 'b', 'c']) {
      const redis = await testMesh.join('redis')
      await redis.listen('redis', (socket) => socket.write(name))
    }
    const checkout = await testMesh.join('checkout')
    const names = async (): Promise<string[]> => {
      const sockets = Array.from({ length: 12 }, () => checkout.connect('redis'))
      const all = await Promise.all(sockets.map(greeting))
      for (const socket of sockets) socket.destroy()
      return all.toSorted()
    }
    await expect.poll(async () => (await names()).join('')).toBe('aaaabbbbcccc')
    await testMesh.apply([{ service: 'redis', balancer: 'ring-hash' }])
    const sides = new Set<string>()
    for (let i = 0; i < 12; i++) {
      const socket = checkout.connect('redis', { key: 'tenant-7' })
      sides.add(await greeting(socket))
      const closed = once(socket, 'close')
      socket.destroy()
      await closed
    }
    expect(sides.size).toBe(1)
  })

  it('is load while it is open: an instance that has ten gets none until the others have as many', async () => {
    await testMesh.apply([{ service: 'redis', balancer: 'least-request' }])
    const listen = (name: string) => testMesh.listen('redis', (socket) => void socket.write(name))
    await listen('a')
    const checkout = await testMesh.join('checkout')
    const ten = () => Array.from({ length: 10 }, () => checkout.connect('redis'))
    const first = ten()
    for (const said of await Promise.all(first.map(greeting))) expect(said).toBe('a')
    await Promise.all([listen('b'), listen('c')])
    const second = ten()
    for (const said of await Promise.all(second.map(greeting))) expect(said).not.toBe('a')
    for (const socket of [...first, ...second]) socket.destroy()
  })

  it('follows the routes of the document as far as they fit', async () => {
    await testMesh.apply([
      {
        service: 'redis',
        subsets: { v2: { version: 'v2' } },
        routes: [
          { name: 'pages', match: [{ path: '/items' }], respond: { status: 410 } },
          { name: 'all', to: 'v2' },
        ],
      },
    ])
    for (const version of ['v1', 'v2']) {
      const redis = await testMesh.join('redis', { version })
      await redis.listen('redis', (socket) => socket.end(version))
    }
    const checkout = await testMesh.join('checkout')
    for (let i = 0; i < 4; i++) expect(await text(checkout.connect('redis'))).toBe('v2')
    await testMesh.apply([{ service: 'redis', routes: [{ name: 'closed', respond: { status: 503 } }] }])
    const error = await failureOf(checkout.connect('redis'))
    expect(error).toMatchObject({ code: 'no-endpoints', route: 'closed', sent: false })
  })
})

describe('a server', () => {
  it('refuses connections over its limits, and admits again when one has closed', async () => {
    await testMesh.apply([{ service: 'redis', limits: { concurrency: 2 }, retry: { attempts: 1 } }])
    const redis = await testMesh.join('redis')
    const server = await redis.listen('redis', echo)
    const checkout = await testMesh.join('checkout')
    const open = [checkout.connect('redis'), checkout.connect('redis')]
    await Promise.all(open.map((socket) => once(socket, 'connect')))
    expect(server.stats.inFlight).toBe(2)
    const error = await failureOf(checkout.connect('redis'))
    expect([error.code, error.sent]).toEqual(['overloaded', false])
    expect(told(redis, 'admission:refused')).toMatchObject([{ code: 'concurrency-limited', peer: 'checkout' }])
    open[0]!.destroy()
    await expect.poll(() => server.stats.inFlight).toBe(1)
    expect(await ask(checkout.connect('redis'), 'PING')).toBe('PING')
    open[1]!.destroy()
  })

  it('closes connections beyond maxConnections at once', async () => {
    await testMesh.apply([{ service: 'redis', retry: { attempts: 1 } }])
    const redis = await testMesh.join('redis')
    await redis.listen('redis', echo, { maxConnections: 1 })
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis')
    await once(socket, 'connect')
    expect(await failureOf(checkout.connect('redis'))).toMatchObject({ code: 'connect-failed', sent: false })
    socket.destroy()
  })

  it('closes a connection on which no byte moves for too long', async () => {
    const redis = await testMesh.join('redis')
    await redis.listen('redis', echo, { idleTimeout: '1s' })
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis')
    await once(socket, 'connect')
    socket.resume()
    await once(socket, 'end')
    await expect.poll(() => redis.metrics()).toMatch(/inmesh_server_tcp_closed_total\{[^}]*code="cancelled"\} 1\n/)
  })

  it('outlives handlers that throw, reject, or whose listeners throw', async () => {
    await testMesh.apply([{ service: 'redis', balancer: 'round-robin' }])
    const redis = await testMesh.join('redis')
    const warnings: string[] = []
    const warn = (warning: Error): void => void warnings.push(warning.message)
    process.on('warning', warn)
    await redis.listen('redis', async (socket) => {
      const [word] = (await once(socket, 'data')).map(String)
      if (word === 'reject') throw new Error('a handler rejected')
      socket.on('data', () => {
        throw new Error('a listener threw')
      })
      socket.write('go on')
    })
    await redis.listen('redis', () => {
      throw new Error('a handler threw')
    })
    const checkout = await testMesh.join('checkout')
    for (let i = 0; i < 12; i++) {
      const socket = checkout.connect('redis')
      const over = new Promise((resolve) => socket.once('close', resolve))
      socket.on('error', () => {})
      socket.on('data', () => socket.write('again'))
      // Each listener gets every second connection.
      socket.write(i % 4 < 2 ? 'reject' : 'listen')
      await over
    }
    for (const what of ['a handler threw', 'a handler rejected', 'a listener threw']) {
      await expect.poll(() => warnings.some((message) => message.includes(what))).toBe(true)
    }
    process.off('warning', warn)
  })

  it('drains: connections that end are waited for, the others end with the time', async () => {
    const redis = await testMesh.join('redis', { drainNotice: 0, drainTimeout: '50s' })
    const server = await redis.listen('redis', (socket) => {
      socket.on('data', (chunk) => setTimeout(() => socket.end(`answer to ${chunk}`), 50))
    })
    const checkout = await testMesh.join('checkout')
    const socket = checkout.connect('redis')
    await once(socket, 'connect')
    socket.write('a question')
    await expect.poll(() => server.stats.inFlight).toBe(1)
    const [answer] = await Promise.all([text(socket), server.close()])
    expect(answer).toBe('answer to a question')
    const other = await testMesh.join('redis', { drainNotice: 0, drainTimeout: '100ms' })
    const idle = await other.listen('redis', (one) => one.write('hello'))
    const left = checkout.connect('redis')
    expect(await greeting(left)).toBe('hello')
    const ended = once(left, 'close')
    left.resume()
    await idle.close()
    await ended
    expect(left.errored).toBe(null)
  })

  it('is only one of our own service, for a handler or a target', async () => {
    const redis = await testMesh.join('redis')
    const listen = redis.listen.bind(redis) as (...given: unknown[]) => Promise<unknown>
    await expect(listen('postgres', echo)).rejects.toThrow(/service: expected 'redis', got "postgres"/)
    await expect(listen('redis')).rejects.toThrow(/expected an object/)
    await expect(listen('redis', {})).rejects.toThrow(/target: is missing/)
    await expect(listen('redis', echo, { target: '127.0.0.1:1' })).rejects.toThrow(/target: is not taken/)
    await expect(listen('redis', { target: '127.0.0.1:1' }, {})).rejects.toThrow(/options: are given twice/)
    await expect(listen('redis', { target: 'localhost' })).rejects.toThrow(/target: expected an address such as/)
    await expect(listen('redis', { target: ':1', port: -1, nope: 1 })).rejects.toThrow(/port.*\n?.*/)
    await expect(listen('redis', echo, { headersTimeout: 1 })).rejects.toThrow(/headersTimeout/)
  })
})

describe('a caller that leaves the mesh', () => {
  it('does not wait for connections on which nothing is due, and waits for an answer', async () => {
    const redis = await testMesh.join('redis')
    await redis.listen('redis', (socket) => {
      socket.on('data', (chunk) => setTimeout(() => socket.write(`answer to ${chunk}`), 300))
    })
    const checkout = await testMesh.join('checkout', { drainTimeout: '30s' })
    const [idle, asking] = [checkout.connect('redis'), checkout.connect('redis')]
    await Promise.all([once(idle, 'connect'), once(asking, 'connect')])
    let answer: string | undefined
    void greeting(asking).then((said) => {
      answer = said
    })
    asking.write('a question')
    const closed = [once(idle, 'close'), once(asking, 'close')]
    idle.resume()
    await checkout.close()
    expect(answer).toBe('answer to a question')
    await Promise.all(closed)
    expect(() => checkout.connect('redis')).toThrow(/was closed/)
  })
})
