import { describe, expect, it } from 'vitest'
import { failure } from '../http/opened.ts'
import { until } from '../http/rig.ts'
import { answer, clientOf, NO_EVENTS, peer } from './peers.ts'

const LONG = 8_000_000

describe('flow control', () => {
  it('a request body waits for a peer that does not read, which is no wait of ours', async () => {
    let read = (): void => {}
    let received = 0
    const server = await peer((stream) => {
      let credited = false
      let unread = 0
      read = () => {
        credited = true
        stream.read(unread)
      }
      stream.events = {
        ...NO_EVENTS,
        dataArrived(_stream, chunk, end) {
          received += chunk.length
          if (credited) stream.read(chunk.length)
          else unread += chunk.length
          if (end) answer(stream, String(received))
        },
      }
    })
    const rig = await clientOf([server.port])
    let taken = 0
    async function* body(): AsyncGenerator<Buffer> {
      for (let i = 0; i < 200; i++) {
        taken += 10_000
        yield Buffer.alloc(10_000, 'x')
      }
    }
    const call = rig.http.post('/', body())
    await until(() => received >= 200_000)
    await new Promise((resolve) => setTimeout(resolve, 50))
    // The window of the peer, and what is queued on our side.
    expect(taken).toBeLessThan(600_000)
    expect(rig.attempts.admitted).toBe(1)
    read()
    expect(await (await call).text()).toBe('2000000')
    expect(taken).toBe(2_000_000)
  })

  it('an answer that no one reads stops within its window, and comes whole when it is read', async () => {
    const server = await peer((stream, path) => {
      if (path !== '/long') {
        answer(stream)
        return
      }
      stream.respond(200, '', [], undefined, false)
      stream.write(Buffer.alloc(LONG, 'a'))
      stream.end()
    })
    const rig = await clientOf([server.port])
    const res = await rig.http.get('/long')
    const { session } = server.connections[0]!
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(session.open).toBe(1)
    // Others go past it.
    for (let i = 0; i < 20; i++) expect((await rig.http.get('/short')).status).toBe(200)
    let bytes = 0
    for await (const chunk of res.body) bytes += chunk.length
    expect(bytes).toBe(LONG)
    expect(server.connections.length).toBe(1)
  })

  it('short calls do not wait for the end of a long answer on the same connection', async () => {
    const server = await peer((stream, path) => answer(stream, path === '/long' ? 'x'.repeat(LONG) : 'ok'))
    const rig = await clientOf([server.port])
    let over = false
    const long = rig.http
      .get('/long')
      .then((res) => res.bytes())
      .finally(() => {
        over = true
      })
    let between = 0
    while (!over) {
      await rig.http.get('/short')
      if (!over) between += 1
    }
    expect((await long).length).toBe(LONG)
    expect(between).toBeGreaterThan(3)
  })

  it('a request body that contradicts its content-length ends the call, not the connection', async () => {
    const server = await peer((stream, _path, _connection, end) => {
      if (end) answer(stream)
      else
        stream.events = {
          ...NO_EVENTS,
          dataArrived(_stream, chunk, last) {
            stream.read(chunk.length)
            if (last) answer(stream)
          },
        }
    })
    const rig = await clientOf([server.port])
    async function* three(): AsyncGenerator<string> {
      yield 'abc'
    }
    for (const length of ['2', '4']) {
      const error = await failure(rig.http.post('/', three(), { headers: { 'content-length': length } }))
      expect(error.code).toBe('invalid-options')
    }
    expect((await rig.http.post('/', three(), { headers: { 'content-length': '3' } })).status).toBe(200)
    expect(server.connections.length).toBe(1)
  })

  it.each([
    ['shorter', 'abc', '4'],
    ['longer', 'abc', '2'],
  ])('an answer %s than its content-length is a protocol error of one call', async (_, body, length) => {
    const server = await peer((stream, path) => {
      if (path === '/') answer(stream)
      else stream.respond(200, '', ['content-length', length], body, true)
    })
    const rig = await clientOf([server.port], { retry: { attempts: 1 } })
    const error = await failure(rig.http.get('/lie').then((res) => res.text()))
    expect(['protocol-error', 'connection-lost']).toContain(error.code)
    expect((await rig.http.get('/')).status).toBe(200)
  })
})

describe('what the answer may have', () => {
  it('interim heads, trailers, a phrase of its own, and none of it in the wrong place', async () => {
    const server = await peer((stream) => {
      stream.respond(103, '', ['link', '</a>'], undefined, false)
      stream.respond(200, 'Fine', ['x-a', '1', 'x-a', '2', 'constructor', 'c'], 'body', false)
      stream.end(['x-sum', '7'])
    })
    const rig = await clientOf([server.port])
    const res = await rig.http.get('/')
    expect([res.status, res.statusText, res.headers.get('x-a'), res.headers.get('constructor')]).toEqual([
      200,
      'Fine',
      '1, 2',
      'c',
    ])
    expect(await res.text()).toBe('body')
  })

  it('HEAD, 204 and 304 have no body, whatever length they declare', async () => {
    const server = await peer((stream, path) =>
      stream.respond(Number(path.slice(1)), '', ['content-length', '1000'], undefined, true),
    )
    const rig = await clientOf([server.port])
    expect((await rig.http.request('HEAD', '/200')).headers.get('content-length')).toBe('1000')
    expect(await (await rig.http.get('/304')).text()).toBe('')
  })
})
