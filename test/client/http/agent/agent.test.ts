import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import https from 'node:https'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { resolveAgent } from '../../../../src/client/http/agent/options.ts'
import { makeRequest } from '../../../../src/client/http/agent/request.ts'
import { deadPort } from '../../../rigs/dead-port.ts'
import { chat, rigTo } from '../../websocket/rig.ts'
import { opened } from '../opened.ts'
import { makeRig, type RigOptions, TestServer, until } from '../rig.ts'
import { agentOf, answerTo, ask } from './rig.ts'

const serve = async (handler: http.RequestListener): Promise<TestServer> =>
  opened(await new TestServer(handler).listen())

async function agentTo(handler: (request: IncomingMessage, response: ServerResponse) => void, options?: RigOptions) {
  const server = await serve(handler)
  const rig = opened(await makeRig([server.port], options))
  return { server, rig, agent: agentOf(rig) }
}

describe('a request of node:http by mesh.agent()', () => {
  it('is a call of the mesh: method, path, headers, body and answer are what was written', async () => {
    let seen: IncomingMessage | undefined
    const { agent, rig } = await agentTo(async (request, response) => {
      seen = request
      response.writeHead(201, 'Made', { 'X-Case': 'Kept', 'set-cookie': ['a=1', 'b=2'] })
      response.end(`got ${await text(request)}`)
    })
    const headers = { 'x-a': 'b', 'content-type': 'text/x' }
    const { response, status, body } = await ask(agent, { method: 'POST', path: '/items?a=%20b', headers }, 'hello')
    expect({ status, body }).toEqual({ status: 201, body: 'got hello' })
    expect(response.statusMessage).toBe('Made')
    // Over inmesh/1, names are in lower case.
    expect(response.rawHeaders.map((text) => text.toLowerCase())).toContain('x-case')
    expect(response.headers['set-cookie']).toEqual(['a=1', 'b=2'])
    expect(seen).toMatchObject({ method: 'POST', url: '/items?a=%20b' })
    expect(seen!.headers).toMatchObject({ host: 'inventory', 'x-a': 'b', 'content-length': '5' })
    expect(Number(seen!.headers['inmesh-timeout-ms'])).toBeGreaterThan(0)
    expect(seen!.headers.connection).not.toBe('close')
    expect(rig.calls.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })

  it('has a socket that says whether it is open, as libraries ask before they write', async () => {
    const { agent } = await agentTo((_request, response) => response.end('a'))
    const request = http.get('http://inventory.mesh/', { agent })
    const answer = answerTo(request)
    const [socket] = await once(request, 'socket')
    expect(socket).toMatchObject({ connecting: false, readyState: 'open' })
    await answer
    socket.resetAndDestroy()
    expect(socket.readyState).toBe('closed')
  })

  it('reuses its stand-in for the connection, and answers one after another', async () => {
    const { agent, server } = await agentTo((request, response) => response.end(request.url))
    for (let i = 0; i < 20; i++) expect((await ask(agent, { path: `/${i}` })).body).toBe(`/${i}`)
    expect(server.requests).toBe(20)
    expect(agent.freeSockets.inventory).toHaveLength(1)
    expect(agent.sockets).toEqual({})
  })

  it.each([
    ['HEAD', 200, { 'content-length': '1000' }],
    ['GET', 204, {}],
    ['GET', 304, { etag: '"a"' }],
    ['DELETE', 200, { 'content-length': '0' }],
  ])('ends after the head of an answer without a body: %s %i', async (method, status, headers) => {
    const { agent } = await agentTo((_request, response) => {
      response.writeHead(status, headers as Record<string, string>).end()
    })
    for (let i = 0; i < 3; i++) {
      const answer = await ask(agent, { method })
      expect(answer).toMatchObject({ status, body: '' })
      expect(answer.response.headers).toMatchObject(headers)
    }
  })

  it('streams both ways, chunk by chunk, and passes trailers on', async () => {
    const { agent } = await agentTo((request, response) => {
      response.writeHead(200, { trailer: 'x-sum' })
      request.on('data', (part) => response.write(part))
      request.on('end', () => {
        response.addTrailers({ 'x-sum': '6' })
        response.end()
      })
    })
    const request = http.request({ host: 'inventory.mesh', method: 'PUT', agent })
    request.write('one')
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    expect(String((await once(response, 'data'))[0])).toBe('one')
    request.write('two')
    expect(String((await once(response, 'data'))[0])).toBe('two')
    request.end()
    await once(response.resume(), 'end')
    expect(response.trailers).toEqual({ 'x-sum': '6' })
  })

  it('makes each side wait for a slow one', async () => {
    let received = 0
    let slow: IncomingMessage | undefined
    const { agent } = await agentTo(
      (request, response) => {
        slow = request
        if (request.method === 'GET') response.end(Buffer.alloc(20_000_000))
        else request.once('readable', () => {})
      },
      { timeoutMs: 60_000 },
    )
    const upload = http.request({ host: 'inventory.mesh', method: 'POST', agent })
    upload.on('error', () => {})
    // Far more than the buffers of a connection hold.
    for (let i = 0; i < 512; i++) upload.write(Buffer.alloc(65_536))
    await until(() => slow !== undefined)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(upload.writableLength).toBeGreaterThan(4_000_000)
    slow!.on('data', (part) => {
      received += part.length
    })
    await until(() => received === 512 * 65_536)
    expect(upload.writableLength).toBe(0)
    upload.destroy()
    const download = http.request({ host: 'inventory.mesh', agent }).end()
    const [response] = (await once(download, 'response')) as [IncomingMessage]
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(response.readableLength).toBeLessThan(1_000_000)
    expect((await buffer(response)).length).toBe(20_000_000)
  })

  it('asks for the body of an expectation once a connection takes it, and not before', async () => {
    const { agent, rig, server } = await agentTo(async (request, response) => response.end(await text(request)))
    const [endpoint] = rig.cluster.endpoints
    rig.cluster.remove(endpoint!)
    const request = http.request({
      host: 'inventory.mesh',
      method: 'PUT',
      headers: { expect: '100-continue', 'content-length': 5 },
      agent,
    })
    const answer = answerTo(request)
    let continued = false
    request.on('continue', () => {
      continued = true
      request.end('hello')
    })
    request.flushHeaders()
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(continued).toBe(false)
    rig.cluster.add(endpoint!)
    expect((await answer).body).toBe('hello')
    expect(server.requests).toBe(1)
  })

  it('shows interim answers', async () => {
    const { agent } = await agentTo(
      (_request, response) => {
        response.writeEarlyHints({ link: '</a.css>; rel=preload' })
        response.end('done')
      },
      { preference: 'http1' },
    )
    const request = http.request({ host: 'inventory.mesh', agent })
    const interim: unknown[] = []
    request.on('information', ({ statusCode, headers }) => interim.push({ statusCode, headers }))
    const answer = answerTo(request)
    request.end()
    expect((await answer).body).toBe('done')
    expect(interim).toEqual([{ statusCode: 103, headers: { link: '</a.css>; rel=preload' } }])
  })

  it('runs in the async context of its caller, wherever the body is written', async () => {
    const storage = new AsyncLocalStorage<number>()
    const { agent } = await agentTo(async (request, response) => response.end(await text(request)))
    const seen = await Promise.all(
      [1, 2, 3].map((id) =>
        storage.run(id, async () => {
          const request = http.request({ host: 'inventory.mesh', method: 'POST', agent })
          const response = once(request, 'response') as Promise<[IncomingMessage]>
          const inside = new Promise((resolve) => request.on('response', () => resolve(storage.getStore())))
          request.end(String(id))
          const body = await text((await response)[0])
          return [await inside, body]
        }),
      ),
    )
    expect(seen).toEqual([
      [1, '1'],
      [2, '2'],
      [3, '3'],
    ])
  })

  it('carries a WebSocket of ws', async () => {
    const service = await chat({ protocols: 'chat' })
    const rig = await rigTo([service])
    const socket = new WebSocket('ws://chat.mesh/room?a=1', { agent: agentOf(rig) })
    await once(socket, 'open')
    socket.send('hello')
    expect(String((await once(socket, 'message'))[0])).toBe('hello')
    socket.close(4000)
    await once(socket, 'close')
    expect(service.handshakes[0]!.url).toBe('/room?a=1')
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
  })
})

describe('what can be repeated', () => {
  /** Answers 503 to the first `refusals` requests, after it has read them. */
  async function flaky(refusals: number) {
    const bodies: string[] = []
    const found = await agentTo(async (request, response) => {
      bodies.push(await text(request))
      response.statusCode = bodies.length <= refusals ? 503 : 200
      response.end('answer')
    })
    return { ...found, bodies }
  }

  it('is repeated with its body, given at once or in parts', async () => {
    const { agent, bodies } = await flaky(1)
    expect((await ask(agent, { method: 'PUT' }, 'whole')).status).toBe(200)
    expect(bodies).toEqual(['whole', 'whole'])
    bodies.length = 0
    const request = http.request({ host: 'inventory.mesh', method: 'PUT', agent })
    const answer = answerTo(request)
    const parts = async function* () {
      for (const part of ['one ', 'two ', 'three']) {
        yield part
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    }
    await pipeline(Readable.from(parts()), request)
    expect((await answer).status).toBe(200)
    expect(bodies).toEqual(['one two three', 'one two three'])
  })

  it('is not repeated if it is a POST, unless it has a key or the agent says so', async () => {
    const { agent, bodies, rig } = await flaky(1)
    expect((await ask(agent, { method: 'POST' }, 'once')).status).toBe(503)
    expect(bodies).toEqual(['once'])
    bodies.length = 0
    expect((await ask(agent, { method: 'POST', headers: { 'idempotency-key': 'k1' } }, 'a')).status).toBe(200)
    bodies.length = 0
    expect((await ask(agentOf(rig, { idempotent: true }), { method: 'POST' }, 'b')).status).toBe(200)
    expect(bodies).toEqual(['b', 'b'])
    bodies.length = 0
    expect((await ask(agentOf(rig, { retry: false }), { method: 'PUT' }, 'c')).status).toBe(503)
  })

  it('is kept up to the bound of other calls, and then sent once', async () => {
    const { agent, bodies } = await flaky(1)
    const request = http.request({ host: 'inventory.mesh', method: 'PUT', agent })
    const answer = answerTo(request)
    for (let i = 0; i < 40; i++) {
      request.write(Buffer.alloc(16_384, 'x'))
      await new Promise(setImmediate)
    }
    request.end()
    expect((await answer).status).toBe(503)
    expect(bodies.map(({ length }) => length)).toEqual([40 * 16_384])
  })

  it('is sent to another instance if one was certainly not reached, also a POST', async () => {
    const server = await serve(async (request, response) => response.end(await text(request)))
    const rig = opened(await makeRig([await deadPort(), server.port]))
    expect((await ask(agentOf(rig), { method: 'POST' }, 'kept')).body).toBe('kept')
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['refused', 'success'])
  })
})

describe('what goes wrong', () => {
  it('is the error of the mesh on the request', async () => {
    const rig = opened(await makeRig([], { timeoutMs: 30 }))
    const error = await ask(agentOf(rig)).catch((reason) => reason)
    expect(error).toMatchObject({ name: 'MeshError', code: 'deadline-exceeded', service: 'inventory' })
  })

  it('is said before the timeout of the client, which says less, if there is no endpoint', async () => {
    const agent = agentOf(opened(await makeRig([])))
    const request = http.get({ host: 'inventory.mesh', timeout: 500, agent })
    request.on('timeout', () => request.destroy(new Error('timeout of 500ms exceeded')))
    const error = await answerTo(request).catch((reason) => reason)
    expect(error).toMatchObject({ name: 'MeshError', code: 'no-endpoints' })
  })

  it('is not the timeout of the client while an answer comes', async () => {
    const { agent } = await agentTo((_request, response) => {
      response.write('a')
      let parts = 0
      const timer = setInterval(() => {
        parts += 1
        if (parts < 8) response.write('a')
        else {
          clearInterval(timer)
          response.end('.')
        }
      }, 50)
    })
    const { body } = await ask(agent, { timeout: 250 })
    expect(body).toBe('aaaaaaaa.')
  })

  it('is short when a logger prints the agent that its error holds', () => {
    const agent = agentOf({ service: 'inventory' } as never)
    expect(inspect({ agent })).toBe('{ agent: MeshAgent {} }')
    expect(JSON.stringify({ agent })).toBe('{"agent":{"name":"MeshAgent"}}')
  })

  it('is the error of the mesh on an answer that breaks off', async () => {
    const { agent, rig } = await agentTo((_request, response) => {
      response.writeHead(200)
      response.write('begun')
      setTimeout(() => response.destroy(), 10)
    })
    const request = http.request({ host: 'inventory.mesh', agent })
    const errors: unknown[] = []
    request.on('error', (error) => errors.push(error))
    request.end()
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    await expect(buffer(response)).rejects.toMatchObject({ name: 'MeshError', code: 'connection-lost' })
    expect(response.complete).toBe(false)
    await expect.poll(() => rig.endpoint.pending).toBe(0)
    expect(await ask(agentOf(rig)).catch(({ code }) => code)).toBe('connection-lost')
  })

  it.each([
    ['before the answer', false],
    ['within the answer', true],
  ])('is cancelled by destroy(), %s', async (_when, answers) => {
    let closed = 0
    const { agent, rig, server } = await agentTo((_request, response) => {
      response.on('close', () => {
        closed += 1
      })
      if (answers) response.write('begun')
    })
    const request = http.request({ host: 'inventory.mesh', agent })
    const errors: { code?: string }[] = []
    request.on('error', (error: { code?: string }) => errors.push(error))
    request.end()
    if (answers) {
      const [response] = (await once(request, 'response')) as [IncomingMessage]
      response.on('error', () => {})
      await once(response, 'data')
    } else await until(() => server.requests === 1)
    request.destroy()
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
    await expect.poll(() => closed).toBe(1)
    expect(errors.map(({ code }) => code)).toEqual(answers ? [] : ['ECONNRESET'])
    expect(agent.sockets).toEqual({})
  })

  it('is cancelled by a signal, also before it is sent', async () => {
    const { agent, rig } = await agentTo(() => {})
    const gone = await ask(agent, { signal: AbortSignal.abort() }).catch((reason) => reason)
    expect(gone.name).toBe('AbortError')
    const controller = new AbortController()
    const answer = ask(agent, { signal: controller.signal }).catch((reason) => reason)
    await until(() => rig.attempts.admitted === 1)
    controller.abort()
    expect((await answer).name).toBe('AbortError')
    await expect.poll(() => rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['cancelled'])
  })

  it.each([
    ['the option timeout', (agent: http.Agent) => http.request({ host: 'inventory.mesh', timeout: 30, agent })],
    ['req.setTimeout', (agent: http.Agent) => http.request({ host: 'inventory.mesh', agent }).setTimeout(30)],
    [
      'socket.setTimeout',
      (agent: http.Agent) =>
        http.request({ host: 'inventory.mesh', agent }).on('socket', function (this: http.ClientRequest, socket) {
          socket.setTimeout(30, () => this.emit('timeout'))
        }),
    ],
  ])('is told by %s: a silence emits timeout', async (_what, make) => {
    const { agent, rig } = await agentTo(() => {})
    const request = make(agent)
    request.on('error', () => {})
    request.end()
    await once(request, 'timeout')
    request.destroy()
    await expect.poll(() => rig.endpoint.pending).toBe(0)
  })

  it('is a length that the body does not have', async () => {
    const { agent, rig } = await agentTo(async (request, response) => response.end(await text(request)))
    const headers = { 'content-length': 10 }
    const short = await ask(agent, { method: 'POST', headers }, 'hello').catch((reason) => reason)
    expect(short.message).toContain('5 bytes are missing')
    const long = await ask(agent, { method: 'POST', headers: { 'content-length': 3 } }, 'hello').catch((r) => r)
    expect(long.message).toContain('bytes beyond its declared length')
    await expect.poll(() => rig.endpoint.pending).toBe(0)
  })

  it('is an error that a listener throws, and no other request', async () => {
    const { agent } = await agentTo((_request, response) => response.end('fine'))
    const mine = new Error('mine')
    const request = http.request({ host: 'inventory.mesh', agent }, () => {
      throw mine
    })
    request.end()
    const other = ask(agent)
    expect((await once(request, 'error'))[0]).toBe(mine)
    expect((await other).body).toBe('fine')
  })

  it('is a host of the mesh that is no service', async () => {
    const { agent } = await agentTo(() => {})
    for (const host of ['unknown.mesh', 'a.b.mesh']) {
      expect(await ask(agent, { host }).catch((reason) => reason)).toMatchObject({ code: 'not-in-mesh' })
    }
    const request = http.request({ host: 'inventory.mesh', method: 'CONNECT', path: 'a:1', agent }).end()
    expect((await once(request, 'error'))[0].message).toContain('expected an HTTP method')
  })

  it('leaves nothing behind, one hundred times, whatever happens to requests', async () => {
    const { agent, rig } = await agentTo((request, response) => {
      if (request.url === '/drop') response.destroy()
      else if (request.url === '/half') response.write('half', () => response.destroy())
      else if (request.url !== '/hang') response.end('x'.repeat(100_000))
    })
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => {
        const path = ['/drop', '/half', '/hang', '/whole'][i % 4]!
        const request = http.request({ host: 'inventory.mesh', method: i % 3 ? 'POST' : 'PUT', path, agent })
        request.on('error', () => {})
        const closed = new Promise((resolve) => request.once('close', resolve))
        request.on('response', (response) => response.on('error', () => {}).resume())
        request.end('body')
        if (path === '/hang') setTimeout(() => request.destroy(), 20)
        return closed
      }),
    )
    await until(() => rig.endpoint.pending === 0)
    expect(rig.attempts.outcomes).toHaveLength(rig.attempts.admitted)
    expect(agent.sockets).toEqual({})
    expect((await ask(agent, { path: '/after' })).body).toHaveLength(100_000)
  })
})

describe('maxSockets', () => {
  it('bounds the requests of a service that run at once; the others wait', async () => {
    const running: ServerResponse[] = []
    let most = 0
    // Two at a time are answered, a moment after the second has come.
    const server = await serve((_request, response) => {
      most = Math.max(most, running.push(response))
      if (running.length % 2 > 0) return
      setTimeout(() => {
        for (const one of running.splice(0)) one.end('done')
      }, 5)
    })
    const rig = opened(await makeRig([server.port]))
    const agent = agentOf(rig, { maxSockets: 2 })
    const answers = await Promise.all(Array.from({ length: 10 }, () => ask(agent)))
    expect(answers.map(({ body }) => body)).toEqual(Array(10).fill('done'))
    expect(most).toBe(2)
  })
})

describe('other hosts', () => {
  it('go as they would without the agent, by the agents given', async () => {
    const outside = await serve((request, response) => response.end(`${request.headers.host} ${request.url}`))
    const { agent, rig } = await agentTo(() => {})
    const own = new http.Agent({ keepAlive: true })
    opened({ close: () => own.destroy() })
    const authority = `127.0.0.1:${outside.port}`
    for (const one of [agent, agentOf(rig, { fallback: { http: own } })]) {
      const { body } = await answerTo(http.get(`http://${authority}/a`, { agent: one }))
      expect(body).toBe(`${authority} /a`)
    }
    await expect.poll(() => Object.keys(own.freeSockets)).toHaveLength(1)
    expect(rig.calls.admitted).toBe(0)
  })

  it('have the port and host header of their scheme', async () => {
    const { rig } = await agentTo(() => {})
    const seen: unknown[] = []
    const fake = (defaultPort: number) =>
      ({
        defaultPort,
        addRequest: (request: http.ClientRequest, { port }: { port: number }) => {
          seen.push([request.protocol, port, request.getHeader('host')])
          request.destroy()
          request.emit('close')
        },
      }) as unknown as https.Agent
    const agent = agentOf(rig, { fallback: { http: fake(80), https: fake(443) } })
    for (const url of ['http://a.example/', 'http://a.example:8080/', 'https://a.example/', 'https://a.example:80/']) {
      const request = url.startsWith('https') ? https.request(url, { agent }) : http.request(url, { agent })
      request.on('error', () => {})
    }
    expect(seen).toEqual([
      ['http:', 80, 'a.example'],
      ['http:', 8080, 'a.example:8080'],
      ['https:', 443, 'a.example'],
      ['https:', 80, 'a.example:80'],
    ])
  })

  it('are those that neither end in .mesh nor are listed', async () => {
    const { rig } = await agentTo((_request, response) => response.end('mesh'))
    for (const [services, host] of [
      [['inventory'], 'INVENTORY'],
      [(name: string) => name.endsWith('.svc.local'), 'inventory.svc.local'],
      [(name: string) => (name === 'api.example' ? 'inventory' : false), 'api.example'],
      [[], 'inventory.mesh.'],
    ] as const) {
      expect((await ask(agentOf(rig, { services }), { host })).body).toBe('mesh')
      expect((await answerTo(https.get(`https://${host}/`, { agent: agentOf(rig, { services }) }))).body).toBe('mesh')
    }
  })

  it('are reached by socketPath, whatever the host', async () => {
    const { agent, rig } = await agentTo(() => {})
    const request = http.request({ host: 'inventory.mesh', socketPath: '/nonexistent/socket', agent }).end()
    expect((await once(request, 'error'))[0]).toMatchObject({ code: 'ENOENT' })
    expect(rig.calls.admitted).toBe(0)
  })
})

describe('the options of mesh.agent()', () => {
  it.each([
    [{ maxSockets: 0 }, 'maxSockets'],
    [{ services: ['No Name'] }, 'services'],
    [{ fallback: { http: {} } }, 'fallback.http'],
    [{ timeout: 'soon' }, 'timeout'],
    [{ keepAlive: true }, 'keepAlive'],
    [{ maxSocket: 1 }, "did you mean 'maxSockets'"],
    [{ protocol: 'ftp:' }, 'protocol'],
    [7, 'expected an object of options'],
  ])('are checked: %o', (options, named) => {
    expect(() => resolveAgent(options as never)).toThrow(named)
  })

  it('are of one scheme if it takes the place of a global agent', async () => {
    const { rig } = await agentTo((_request, response) => response.end('mesh'))
    const agent = agentOf(rig, { protocol: 'https:' })
    expect((await answerTo(https.get('https://inventory.mesh/', { agent }))).body).toBe('mesh')
    expect(() => http.get('http://inventory.mesh/', { agent })).toThrow('Protocol "http:" not supported')
  })
})

describe('mesh.request', () => {
  it('takes what http.request takes, but an agent', async () => {
    const { rig } = await agentTo((request, response) => response.end(request.url))
    const request = makeRequest(agentOf(rig, { services: ['inventory'] }))
    const asked = [
      request('http://inventory/a').end(),
      request(new URL('https://inventory/b'), { method: 'GET' }).end(),
      request({ host: 'inventory', path: '/c' }).end(),
    ]
    expect((await Promise.all(asked.map(answerTo))).map(({ body }) => body)).toEqual(['/a', '/b', '/c'])
    const called = new Promise((resolve) => request('http://inventory/d', resolve).end())
    expect(await called).toMatchObject({ statusCode: 200 })
    expect(() => request('http://inventory/', { agent: http.globalAgent })).toThrow('mesh.agent()')
  })
})
