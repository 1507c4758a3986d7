import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type Run, run } from './run-command.ts'

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
): Promise<Run> {
  const listening = createServer(answer)
  server = listening
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`
  return run([...args, '--registry', url], { env: { HOME: '/nonexistent' }, ...(stdin === undefined ? {} : { stdin }) })
}

const body = (status: number, value: unknown) => (_: IncomingMessage, response: ServerResponse) => {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
}

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

  it('ends with 3 when the connection breaks', async () => {
    const { code } = await against((request) => request.socket.destroy(), ['services'])
    expect(code).toBe(3)
  })

  it('is not ready while it closes', async () => {
    const { code, stderr } = await against((_, response) => response.writeHead(503).end('closing\n'), ['status'])
    expect(code).toBe(1)
    expect(stderr).toContain('not ready: closing')
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
    expect(code).toBe(3)
    expect(stderr).toContain('too large')
  })
})
