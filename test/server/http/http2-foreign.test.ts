/** Clients and gateways that others wrote, each in its own process. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { currentCall } from '../../../src/server/current-call.ts'
import { freePorts } from '../../rigs/free-ports.ts'
import { missing, run, titleWith } from '../../rigs/installed.ts'
import { authority, clientOf, serve } from '../rig.ts'

const WITHOUT_CURL = missing('curl', '--version')
const WITHOUT_NGHTTP = missing('nghttp', '--version') ?? missing('h2load', '--version')
const WITHOUT_HAPROXY = missing('haproxy', '-v')

/** Files of a client's identity, removed when the test ends. */
function identityFiles(service: string): { cert: string; key: string; ca: string; both: string; folder: string } {
  const folder = mkdtempSync(join(tmpdir(), 'inmesh-http2-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const { key, cert } = clientOf(service)
  const files = {
    folder,
    cert: join(folder, 'cert'),
    key: join(folder, 'key'),
    ca: join(folder, 'ca'),
    both: join(folder, 'both'),
  }
  writeFileSync(files.cert, cert)
  writeFileSync(files.key, key)
  writeFileSync(files.ca, authority.certificate)
  writeFileSync(files.both, `${cert}\n${key}`)
  return files
}

function app(): express.Express {
  const served = express()
  served.use(express.json())
  served.post('/items/:id', (request, response) => {
    response.json({
      id: request.params.id,
      got: request.body,
      by: currentCall()?.peer?.service,
      over: currentCall()?.transport,
    })
  })
  served.get('/big', (_request, response) => response.send(Buffer.alloc(2_000_000, 'x')))
  served.get('/', (_request, response) => response.send('hello'))
  return served
}

const POSTED = ['-H', 'content-type: application/json', '-d', '{"a":1}', '-w', '\n%{http_version}']

describe.skipIf(WITHOUT_CURL)(titleWith(WITHOUT_CURL, 'curl'), () => {
  it('speaks it in plaintext with prior knowledge', async () => {
    const { server } = await serve(app())
    const url = `http://127.0.0.1:${server.port}`
    const said = await run('curl', '-sS', '--http2-prior-knowledge', ...POSTED, `${url}/items/7`)
    expect(said).toBe('{"id":"7","got":{"a":1},"over":"h2"}\n2')
    expect((await run('curl', '-sS', '--http2-prior-knowledge', `${url}/big`)).length).toBe(2_000_000)
  })

  it('goes on in HTTP/1.1 where it asks for an upgrade to HTTP/2', async () => {
    const { server } = await serve(app())
    const said = await run('curl', '-sS', '--http2', ...POSTED, `http://127.0.0.1:${server.port}/items/7`)
    expect(said).toBe('{"id":"7","got":{"a":1},"over":"http/1.1"}\n1.1')
  })

  it('speaks it over mTLS with a certificate of the mesh', async () => {
    const { server } = await serve(app(), { mode: 'strict' })
    const { cert, key } = identityFiles('checkout')
    const identity = ['--cert', cert, '--key', key, '--insecure']
    const url = `https://127.0.0.1:${server.port}/items/7`
    const said = await run('curl', '-sS', '--http2-prior-knowledge', ...identity, ...POSTED, url)
    expect(said).toMatch(/^\{"id":"7","got":\{"a":1\},"by":"checkout","over":"(?:h2|http\/1\.1)"\}\n/)
  })
})

describe.skipIf(WITHOUT_NGHTTP)(titleWith(WITHOUT_NGHTTP, 'nghttp and h2load'), () => {
  it('speak it over mTLS with a certificate of the mesh', async () => {
    const { server } = await serve(app(), { mode: 'strict' })
    const { cert, key } = identityFiles('checkout')
    const said = await run('nghttp', '-y', `--cert=${cert}`, `--key=${key}`, `https://127.0.0.1:${server.port}/`)
    expect(said).toBe('hello')
  })

  it('get every one of thousands of answers, many at once', async () => {
    const { server, failures } = await serve(app())
    const said = await run('h2load', '-n', '3000', '-c', '4', '-m', '50', `http://127.0.0.1:${server.port}/`)
    expect(said).toContain('3000 succeeded, 0 failed, 0 errored, 0 timeout')
    expect(said).toContain('status codes: 3000 2xx')
    expect(failures).toEqual([])
  })
})

describe.skipIf(WITHOUT_HAPROXY)(titleWith(WITHOUT_HAPROXY, 'haproxy'), () => {
  /** In front of `server`, with the certificate of `gateway` if there is one. */
  async function gateway(to: number, tls: string): Promise<number> {
    const [port] = (await freePorts(1)) as [number]
    const folder = mkdtempSync(join(tmpdir(), 'inmesh-haproxy-'))
    const file = join(folder, 'haproxy.cfg')
    writeFileSync(
      file,
      [
        'global',
        '  log stderr format raw local0 err',
        'defaults',
        '  mode http',
        '  timeout connect 5s',
        '  timeout client 30s',
        '  timeout server 30s',
        'frontend in',
        `  bind 127.0.0.1:${port}`,
        '  default_backend mesh',
        'backend mesh',
        `  server one 127.0.0.1:${to} ${tls} proto h2`,
        '',
      ].join('\n'),
    )
    const proxy = spawn('haproxy', ['-db', '-f', file], { stdio: 'ignore' })
    onTestFinished(async () => {
      const ended = once(proxy, 'exit')
      proxy.kill()
      await ended
      rmSync(folder, { recursive: true })
    })
    await expect
      .poll(
        () =>
          fetch(`http://127.0.0.1:${port}/`).then(
            (answer) => answer.text(),
            () => 'not yet',
          ),
        { timeout: 40_000 },
      )
      .toBe('hello')
    return port
  }

  it('carries calls in plaintext', async () => {
    const { server } = await serve(app())
    const port = await gateway(server.port, '')
    const body = JSON.stringify({ a: 1 })
    const posted = await fetch(`http://127.0.0.1:${port}/items/9`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body,
    })
    expect(await posted.json()).toEqual({ id: '9', got: { a: 1 }, over: 'h2' })
    expect((await (await fetch(`http://127.0.0.1:${port}/big`)).text()).length).toBe(2_000_000)
  })

  it('carries calls over mTLS, as a service of the mesh', async () => {
    const { server } = await serve(app(), { mode: 'strict' })
    const { both, ca } = identityFiles('gateway')
    const port = await gateway(server.port, `ssl crt ${both} ca-file ${ca} verify none alpn h2`)
    const answers = await Promise.all(
      Array.from({ length: 50 }, async (_, i) => {
        const posted = await fetch(`http://127.0.0.1:${port}/items/${i}`, {
          method: 'POST',
          body: '{}',
          headers: { 'content-type': 'application/json' },
        })
        return (await posted.json()) as { id: string; by: string }
      }),
    )
    expect(answers.map(({ id }) => Number(id))).toEqual(answers.map((_, i) => i))
    expect(new Set(answers.map(({ by }) => by))).toEqual(new Set(['gateway']))
  })
})
