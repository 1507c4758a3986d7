import { spawn } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type Admin, type AdminPages, startAdmin } from '../../src/telemetry/admin.ts'
import { type AdminOptions, resolveAdmin } from '../../src/telemetry/admin-access.ts'

const pages: AdminPages = {
  metrics: () => '# HELP a A.\n# TYPE a counter\na 1\n',
  config: () => ({
    timeoutMs: 800,
    identity: { privateKey: 'SECRET-1' },
    joinToken: 'SECRET-2',
    pem: '-----BEGIN EC PRIVATE KEY-----',
  }),
  endpoints: () => new Map([['inventory', [{ endpoint: '10.0.0.7:80', pending: 1 }]]]),
  events: () => [],
  health: () => ({ ok: true }),
}

/** The listener's side of the next connection to the port. */
function accepted(port: number): Promise<Socket> {
  return new Promise((resolve) => {
    const take = (message: unknown): void => {
      const { socket } = message as { socket: Socket }
      if (socket.localPort !== port) return
      unsubscribe('net.server.socket', take)
      resolve(socket)
    }
    subscribe('net.server.socket', take)
  })
}

const running: Admin[] = []
afterEach(async () => {
  await Promise.all(running.splice(0).map((admin) => admin.close()))
})

async function start(options: AdminOptions = {}, shown: Partial<AdminPages> = {}): Promise<Admin> {
  const admin = await startAdmin(resolveAdmin(options), { ...pages, ...shown })
  running.push(admin)
  return admin
}

async function ask(admin: Admin, path: string, headers: Record<string, string> = {}, method = 'GET') {
  const sent = request({ host: admin.host, port: admin.port, path, method, headers, agent: false })
  sent.end()
  const [response] = await once(sent, 'response')
  let body = ''
  for await (const chunk of response) body += chunk
  return { status: response.statusCode as number, headers: response.headers, body }
}

describe('the admin listener', () => {
  it('shows metrics, configuration, endpoints, events and health', async () => {
    const admin = await start()
    const metrics = await ask(admin, '/metrics')
    expect(metrics.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(metrics.body).toContain('a 1\n')
    expect(JSON.parse((await ask(admin, '/endpoints?service=x')).body)).toEqual({
      inventory: [{ endpoint: '10.0.0.7:80', pending: 1 }],
    })
    expect(JSON.parse((await ask(admin, '/events')).body)).toEqual([])
    expect((await ask(admin, '/healthz')).status).toBe(200)
    expect((await ask(admin, '/nothing')).status).toBe(404)
  })

  it('makes a text that takes long once for many scrapers, and then anew', async () => {
    let made = 0
    const metrics = (): string => {
      made += 1
      const until = performance.now() + 40
      while (performance.now() < until);
      return `# TYPE a counter\na ${made}\n`
    }
    const admin = await start({}, { metrics })
    const bodies = await Promise.all(Array.from({ length: 24 }, async () => (await ask(admin, '/metrics')).body))
    expect(new Set(bodies).size).toBe(made)
    expect(made).toBeLessThan(12)
    await expect.poll(async () => (await ask(admin, '/metrics')).body).not.toBe(bodies.at(-1))
  })

  it('says 503 when the process is not well', async () => {
    const admin = await start({}, { health: () => ({ ok: false, reason: 'certificate expired' }) })
    const answer = await ask(admin, '/healthz')
    expect(answer.status).toBe(503)
    expect(JSON.parse(answer.body)).toEqual({ ok: false, reason: 'certificate expired' })
  })

  it('never shows a secret', async () => {
    const { body } = await ask(await start(), '/config')
    expect(JSON.parse(body)).toEqual({
      timeoutMs: 800,
      identity: { privateKey: '[redacted]' },
      joinToken: '[redacted]',
      pem: '[redacted]',
    })
  })

  it.each([['evil.example'], ['localhost.evil.example'], ['127.0.0.1.evil.example:80'], ['localhost6'], ['10.0.0.1']])(
    'refuses a request that calls it %s',
    async (host) => {
      expect((await ask(await start(), '/config', { host })).status).toBe(403)
    },
  )

  it.each([['localhost'], ['localhost:9090'], ['127.0.0.1:1'], ['[::1]:9090'], ['LOCALHOST']])(
    'answers a request that calls it %s',
    async (host) => {
      expect((await ask(await start(), '/config', { host })).status).toBe(200)
    },
  )

  it('refuses what a page of another site asks for, and sends nothing that would let one read it', async () => {
    const admin = await start()
    expect((await ask(admin, '/config', { origin: 'http://evil.example' })).status).toBe(403)
    expect((await ask(admin, '/config', { 'sec-fetch-site': 'cross-site' })).status).toBe(403)
    const { headers } = await ask(admin, '/config', { 'sec-fetch-site': 'none' })
    expect(headers['access-control-allow-origin']).toBeUndefined()
    expect(headers['content-security-policy']).toContain("default-src 'none'")
  })

  it.each([['POST'], ['PUT'], ['DELETE'], ['OPTIONS'], ['HEAD']])('refuses %s', async (method) => {
    expect((await ask(await start(), '/config', {}, method)).status).toBe(405)
  })

  it('does not show why a page could not be made', async () => {
    const admin = await start(
      {},
      {
        config: () => {
          throw new Error('SECRET')
        },
      },
    )
    const { status, body } = await ask(admin, '/config')
    expect(status).toBe(500)
    expect(body).not.toContain('SECRET')
  })

  it('wants the token if it has one, and then any host name', async () => {
    const token = 'a-token-of-some-length'
    const admin = await start({ host: '0.0.0.0', token })
    const at = { ...admin, host: '127.0.0.1' }
    expect((await ask(at, '/metrics')).status).toBe(401)
    expect((await ask(at, '/metrics', { authorization: `Bearer ${token}x` })).status).toBe(401)
    const good = { authorization: `Bearer ${token}`, host: 'checkout.example' }
    expect((await ask(at, '/metrics', good)).status).toBe(200)
  })

  it('answers only probes beyond loopback, without a list and a token', async () => {
    let reason: string | undefined
    const admin = await start({ host: '0.0.0.0' }, { notReady: () => reason })
    const at = { ...admin, host: '127.0.0.1' }
    for (const path of ['/metrics', '/config', '/endpoints', '/events', '/healthz', '/nothing']) {
      const { status, body } = await ask(at, path)
      expect([path, status]).toEqual([path, 403])
      expect(body).toContain('admin.allow')
    }
    expect(await ask(at, '/livez', { host: '10.0.0.7:9901' })).toMatchObject({ status: 200, body: 'ok\n' })
    expect(await ask(at, '/readyz?verbose')).toMatchObject({ status: 200, body: 'ready\n' })
    reason = 'draining'
    expect(await ask(at, '/readyz')).toMatchObject({ status: 503, body: 'draining\n' })
    expect((await ask(at, '/livez', {}, 'HEAD')).status).toBe(200)
    expect((await ask(at, '/livez', {}, 'POST')).status).toBe(405)
  })

  it('lets listed addresses read all, and others with the token', async () => {
    const token = 'a-token-of-some-length'
    const listed = await start({ host: '0.0.0.0', token, allow: ['10.0.0.0/8', '127.0.0.1', 'fd00::/8'] })
    const other = await start({ host: '0.0.0.0', token, allow: ['10.0.0.0/8', '127.0.0.2/32'] })
    const [at, elsewhere] = [listed, other].map((admin) => ({ ...admin, host: '127.0.0.1' })) as [Admin, Admin]
    expect((await ask(at, '/metrics', { host: 'checkout.example' })).status).toBe(200)
    expect((await ask(at, '/metrics', { 'sec-fetch-site': 'same-origin' })).status).toBe(403)
    expect((await ask(elsewhere, '/metrics')).status).toBe(401)
    expect((await ask(elsewhere, '/metrics', { authorization: `Bearer ${token}` })).status).toBe(200)
    const { admin6 } = { admin6: await start({ host: '::', allow: ['127.0.0.0/8'] }).catch(() => undefined) }
    if (admin6 !== undefined) expect((await ask({ ...admin6, host: '127.0.0.1' }, '/metrics')).status).toBe(200)
  })

  it('answers a probe while strangers hold all the connections that they get', async () => {
    const admin = await start({ host: '0.0.0.0' })
    const held = Array.from({ length: 100 }, () => connect(admin.port, '127.0.0.1').on('error', () => {}))
    await Promise.all(held.map((socket) => once(socket, 'connect')))
    expect((await ask({ ...admin, host: '127.0.0.1' }, '/readyz')).status).toBe(200)
    for (const socket of held) socket.destroy()
  })

  it('names each wrong option', () => {
    for (const network of ['10.0.0.0/33', '10.0.0', 'fd00::/129', '10.0.0.0/8/8', 'all', '10.0.0.0/-1']) {
      expect(() => resolveAdmin({ allow: [network] })).toThrow(/allow.*expected an address or a network/)
    }
    expect(() => resolveAdmin({ host: '1.2.3' })).toThrow(/host: expected an IP address/)
    expect(() => resolveAdmin({ host: 'localhost', port: -1 })).toThrow(/host: .*; port: /)
    expect(() => resolveAdmin({ token: 'short' })).toThrow(/token: expected a token of 16/)
    expect(() => resolveAdmin({ prot: 1 } as AdminOptions)).toThrow(/did you mean 'port'/)
  })

  it('rejects when the port is taken', async () => {
    const { port } = await start()
    await expect(startAdmin(resolveAdmin({ port }), pages)).rejects.toThrow(
      /^the admin listener .* cannot listen: .*EADDRINUSE/,
    )
  })

  it('ends a connection whose client reads nothing', { timeout: 120_000 }, async () => {
    const bytes = 16 * 1024 * 1024
    const admin = await start({}, { metrics: () => 'x'.repeat(bytes) })
    const ended = accepted(admin.port).then((socket) => once(socket, 'close'))
    const socket = connect(admin.port, admin.host)
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write('GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n')
    // Of the listener's side: nothing says it here before something is read.
    await ended
    let received = 0
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    await once(socket, 'close')
    expect(received).toBeLessThan(bytes)
  })

  it('closes although a client holds an unfinished request open', async () => {
    const admin = await start()
    const socket = connect(admin.port, admin.host)
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.write('GET /metrics HTTP/1.1\r\nhost: loc')
    await new Promise((resolve) => setTimeout(resolve, 30))
    const ended = once(socket, 'close')
    await Promise.all([admin.close(), admin.close()])
    socket.destroy()
    await ended
  })

  it('never keeps the process alive', async () => {
    const [listener, access] = ['admin', 'admin-access'].map((name) =>
      JSON.stringify(new URL(`../../src/telemetry/${name}.ts`, import.meta.url).href),
    )
    const code = `
      const { startAdmin } = await import(${listener})
      const { resolveAdmin } = await import(${access})
      const pages = { metrics: () => 'm', config() {}, endpoints() {}, events: () => [], health: () => ({ ok: true }) }
      const admin = await startAdmin(resolveAdmin(), pages)
      const response = await fetch(admin.url + '/metrics')
      console.log(await response.text())`
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    let printed = ''
    child.stdout.on('data', (chunk) => {
      printed += chunk
    })
    // All that it printed has been read then.
    const [exitCode] = await once(child, 'close')
    expect([exitCode, printed]).toEqual([0, 'm\n'])
  })
})
