/** The port of `inmesh proxy`, as curl and browsers use it, and as pages elsewhere try to. */
import { execFile } from 'node:child_process'
import { createServer, type IncomingMessage, request } from 'node:http'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { ProxyServer } from '../../../src/cli/proxy/proxy-server.ts'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'

let mesh: TestMesh
let proxy: ProxyServer

beforeAll(async () => {
  mesh = await startTestMesh()
  const sockets = new WebSocketServer({ noServer: true })
  sockets.on('connection', (socket) => socket.on('message', (data) => socket.send(`again ${data}`)))
  const server = createServer((asked, response) => {
    if (asked.url === '/stream') {
      response.write('first\n')
      asked.once('close', () => response.destroy())
      return
    }
    let body = ''
    asked.on('data', (part) => {
      body += part
    })
    asked.on('end', () => {
      const { method, url, headers } = asked
      response.setHeader('set-cookie', ['a=1', 'b=2'])
      response.end(JSON.stringify({ method, url, host: headers.host, body }))
    })
  })
  server.on('upgrade', (asked, socket, head) =>
    sockets.handleUpgrade(asked, socket, head, (one) => sockets.emit('connection', one)),
  )
  await mesh.serve('inventory', server)
  proxy = new ProxyServer(await mesh.join('developer'))
  await proxy.listen(0)
})
afterAll(async () => {
  await proxy.close()
  await mesh.close()
})

interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

/** With any head: `fetch` forbids some. */
function ask(headers: Record<string, string>, { path = '/items/42', method = 'GET', body = '' } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: proxy.port, path, method, headers, agent: false }, (response) => {
      let text = ''
      response.on('data', (part) => {
        text += part
      })
      response.on('end', () => resolve({ status: response.statusCode!, headers: response.headers, text }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

const host = (service = 'inventory'): string => `${service}.localhost:${proxy.port}`

describe('a request', () => {
  it('goes to the service that its host names, with its body', async () => {
    const { status, headers, text } = await ask({ host: host() }, { method: 'POST', body: 'x', path: '/a?b=c' })
    expect(status).toBe(200)
    expect(JSON.parse(text)).toMatchObject({ method: 'POST', url: '/a?b=c', body: 'x' })
    expect(headers['set-cookie']).toEqual(['a=1', 'b=2'])
  })

  it('of curl with the port as its proxy goes there as well', async () => {
    const args = ['-sS', '--noproxy', '', '-x', `http://127.0.0.1:${proxy.port}`, 'http://inventory/items/42']
    const { stdout } = await promisify(execFile)('curl', args)
    expect(JSON.parse(stdout)).toMatchObject({ url: '/items/42' })
  })

  it('gets a stream as it comes, and ends the call when it goes', async () => {
    const first = await new Promise<string>((resolve, reject) => {
      const sent = request(
        { host: '127.0.0.1', port: proxy.port, path: '/stream', headers: { host: host() } },
        (response) => {
          response.once('data', (part) => {
            resolve(String(part))
            sent.destroy()
          })
          response.on('error', () => {})
        },
      )
      sent.on('error', reject)
      sent.end()
    })
    expect(first).toBe('first\n')
  })

  it('says why there is no answer', async () => {
    const { status, text } = await ask({ host: host('In_valid') })
    expect(status).toBe(421)
    expect(text).toContain('is none of this proxy')
    expect((await ask({ host: `localhost:${proxy.port}` })).text).toContain(
      'This is inmesh proxy. Take http://<service>.localhost',
    )
  })
})

it('a WebSocket is opened through it', async () => {
  const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/rooms/1`, { headers: { host: host() } })
  const heard = new Promise<string>((resolve, reject) => {
    socket.on('message', (data) => resolve(String(data)))
    socket.on('error', reject)
  })
  socket.on('open', () => socket.send('hello'))
  expect(await heard).toBe('again hello')
  socket.close()
})

describe('a page elsewhere', () => {
  it.each([
    ['by a name that points to loopback', () => ({ host: `evil.example:${proxy.port}` }), 421],
    ['by the name of another port', () => ({ host: 'inventory.localhost:1' }), 421],
    ['by fetch', () => ({ host: host(), origin: 'http://evil.example' }), 403],
    ['from a sandbox', () => ({ host: host(), origin: 'null' }), 403],
    ['from another program on localhost', () => ({ host: host(), origin: 'http://localhost:3000' }), 403],
    ['by a link, a form or an image', () => ({ host: host(), 'sec-fetch-site': 'cross-site' }), 403],
  ])('reaches nothing %s', async (_, headers, status) => {
    expect((await ask(headers())).status).toBe(status)
  })

  it('behind the proxy may call others there', async () => {
    const headers = { host: host(), origin: `http://checkout.localhost:${proxy.port}`, 'sec-fetch-site': 'same-site' }
    expect((await ask(headers)).status).toBe(200)
    expect((await ask({ host: host(), 'sec-fetch-site': 'none' })).status).toBe(200)
  })

  it('opens no WebSocket', async () => {
    const options = { headers: { host: host(), origin: 'http://evil.example' } }
    const socket = new WebSocket(`ws://127.0.0.1:${proxy.port}/rooms/1`, options)
    const message = await new Promise<string>((resolve) => socket.on('error', (error) => resolve(error.message)))
    expect(message).toContain('403')
  })
})
