import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type Around, type Run, run } from './run-command.ts'

let server: Server | undefined
afterEach(async () => {
  server?.closeAllConnections()
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
  server = undefined
})

/** A scripted registry; plain http is allowed on loopback. */
async function against(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  args: readonly string[],
  stdin?: string,
  more: Around = {},
): Promise<Run> {
  const listening = createServer(answer)
  server = listening
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`
  const around = { env: { HOME: '/nonexistent' }, ...(stdin === undefined ? {} : { stdin }), ...more }
  return run([...args, '--registry', url], around)
}

const body = (status: number, value: unknown) => (_: IncomingMessage, response: ServerResponse) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

describe('a registry that answers late', () => {
  const late: Parameters<typeof against>[0] = (_, response) => {
    setTimeout(() => response.end('{"ready":true,"services":[]}'), 1_200)
  }

  it('is waited for with a word on stderr, and without one in JSON', async () => {
    const { code, stderr } = await against(late, ['services'], undefined, { patience: 'kept' })
    expect(code).toBe(0)
    expect(stderr).toMatch(/^waiting for the registry at http:\/\/127\.0\.0\.1:\d+\n$/)
    server?.close()
    const json = await against(late, ['services', '--json'], undefined, { patience: 'kept' })
    expect(json.stderr).toBe('')
  })
})

describe('answers of a registry', () => {
  it('lists instances, and no escape sequence of theirs reaches the terminal', async () => {
    const instance = {
      service: 'a',
      id: 'a-1',
      address: '::1',
      port: 80,
      protocol: 'http',
      tls: true,
      state: 'ready',
      weight: 100,
    }
    const { code, stdout } = await against(
      body(200, { service: 'a', instances: [{ ...instance, zone: '\u001b[2Jz' }] }),
      ['instances', 'a'],
    )
    expect(code).toBe(0)
    expect(stdout).toMatch(/a-1 +\[::1\]:80 +http +mTLS +ready +\?\[2Jz +- +100/)
    expect(stdout).not.toContain('\u001b')
  })

  it('shows a mistake that only the registry found at its place in the file', async () => {
    const issues = [{ path: [1, 'timeout'], message: 'is too long for this mesh' }]
    const { code, stderr } = await against(
      body(422, { error: { code: 'invalid-policy', message: 'policies: no', issues } }),
      ['apply', '-f', '-'],
      'service: a\n---\nservice: b\ntimeout: 1s\n',
    )
    expect(code).toBe(2)
    expect(stderr).toContain('<stdin>:4:1 timeout: is too long for this mesh')
  })

  it.each([
    ['HTML', (_: IncomingMessage, response: ServerResponse) => response.end('<html>')],
    ['an error page', (_: IncomingMessage, response: ServerResponse) => response.writeHead(502).end('Bad Gateway')],
    ['nothing', (_: IncomingMessage, response: ServerResponse) => response.end()],
    ['null', body(200, null)],
    ['an error without a code', body(500, { error: {} })],
  ])('says so when it is %s', async (_, answer) => {
    const { code, stderr } = await against(answer as never, ['services'])
    expect(code).toBe(1)
    expect(stderr).toContain('is it an inmesh registry?')
  })

  it.each([
    [400, 2],
    [401, 1],
    [403, 1],
    [404, 1],
    [409, 1],
    [413, 2],
    [422, 2],
    [429, 1],
    [500, 1],
    [503, 1],
  ])('makes of status %i the exit code %i', async (status, exitCode) => {
    const { code, stderr } = await against(body(status, { error: { code: 'some-code', message: 'why' } }), [
      'get',
      'a',
      '--json',
    ])
    expect(code).toBe(exitCode)
    expect(JSON.parse(stderr).error).toEqual({ code: 'some-code', message: 'why', exitCode })
  })

  it.each([
    [['delete', 'a', '--if-version', '3'], { 'if-match': '"3"' }],
    [['rollback', 'a', '--to', '1', '--if-version', '3'], { 'if-match': '"3"' }],
  ])('sends the version that %j expects', async (args, headers) => {
    let seen: IncomingMessage | undefined
    const { code, stderr } = await against((request, response) => {
      seen = request
      body(409, { error: { code: 'conflict', message: 'is at version 4' } })(request, response)
    }, args)
    expect(seen!.headers).toMatchObject(headers)
    expect([code, stderr]).toEqual([1, expect.stringContaining('is at version 4')])
  })

  it('sends the versions that apply expects, and refuses what is none', async () => {
    let sent = ''
    const args = ['apply', '-f', '-', '--if-version', 'a=3', '--if-version', 'b=0']
    await against(
      async (request, response) => {
        for await (const chunk of request) sent += chunk
        body(200, { changes: [] })(request, response)
      },
      args,
      'service: a\n---\nservice: b\n',
    )
    expect(JSON.parse(sent).expected).toEqual({ a: 3, b: 0 })
    const twice = ['apply', '-f', '-', '--if-version', 'a=3', '--if-version', 'a=4']
    const both = await run(twice, { env: {}, stdin: 'service: a\n' })
    expect([both.code, both.stderr]).toEqual([
      2,
      expect.stringContaining("'a' cannot be at version 3 and at version 4"),
    ])
    const wrong = await run(['apply', '-f', '-', '--if-version', 'a'], { env: {}, stdin: 'service: a\n' })
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("'inventory=3'")])
  })

  it.each([
    'https://admin:hunter2@registry:7400',
    'ftp://hunter2@registry',
    'hunter2@registry',
    'https://a:hunter2@b@c/x',
  ])('shows no password of %s', async (url) => {
    const { code, stdout, stderr } = await run(['services', '--registry', url], { env: { HOME: '/nonexistent' } })
    expect(code).toBe(2)
    expect(stdout + stderr).toContain('an address such as')
    expect(stdout + stderr).not.toContain('hunter2')
  })

  it('ends with 3 when the connection breaks', async () => {
    const { code } = await against((request) => request.socket.destroy(), ['services'])
    expect(code).toBe(3)
  })

  it('is not ready while it closes', async () => {
    const { code, stderr } = await against((_, response) => response.writeHead(503).end('closing\n'), ['status'])
    expect(code).toBe(1)
    expect(stderr).toContain('not ready: closing')
  })

  it('gets no token over plain http, given or found', async () => {
    const token = `inmesh-admin.${'a'.repeat(27)}.${'b'.repeat(43)}`
    let asked = 0
    const { code, stderr } = await against(() => asked++, ['services', '--token', token])
    expect([code, asked]).toEqual([2, 0])
    expect(stderr).toContain('no token is sent over plain http; give https://127.0.0.1')
    expect(stderr).not.toContain(token)
  })

  it('stops reading an endless answer', async () => {
    const { code, stderr } = await against(
      (_, response) => {
        const block = Buffer.alloc(1024 * 1024, 32)
        const more = () => {
          while (!response.destroyed && response.write(block)) {}
        }
        response.on('drain', more)
        more()
      },
      ['services'],
    )
    expect(code).toBe(1)
    expect(stderr).toContain('with more than 64 MiB')
  })
})
