/** What works over HTTP/1.1 works over `inmesh/1`: requests, events and ends. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { Readable, Writable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { alike, alikeApp, type Handler, type Note, watch } from './all-transports.ts'

describe('the events of an exchange', () => {
  it.each<[string, Handler]>([
    ['a request without a body that nobody reads', (_q, s) => s.end('x')],
    ['one that is read first', (q, s) => q.resume().on('end', () => s.end('x'))],
    ['one whose answer comes later', (_q, s) => setTimeout(() => s.end('x'), 5)],
    [
      'one whose answer comes in pieces',
      (_q, s) => {
        s.write('a')
        setTimeout(() => s.end('x', () => {}), 5)
      },
    ],
    [
      'an answer that is ended twice',
      (_q, s) => {
        s.end('a')
        s.end('b', () => {})
      },
    ],
    [
      'an answer that is written to after its end',
      (_q, s) => {
        s.end('a')
        s.write('b')
      },
    ],
    ['an answer that is destroyed', (_q, s) => s.destroy()],
    [
      'an answer that is destroyed with an error',
      (_q, s) => {
        s.write('x')
        setTimeout(() => s.destroy(new Error('mine')), 5)
      },
    ],
    ['a request that is destroyed', (q) => q.destroy()],
    ['a request that is destroyed with an error', (q) => q.destroy(new Error('mine'))],
    ['a socket that is destroyed', (q) => q.socket.destroy()],
    [
      'an answer that is destroyed after its end',
      (_q, s) => {
        s.end('x')
        setTimeout(() => s.destroy(), 5)
      },
    ],
  ])('%s', async (_what, handler) => {
    const { notes } = await alike((request, response, note) => {
      watch(request, response, note)
      return handler(request, response, note)
    })
    expect(notes.length).toBeGreaterThan(1)
  })

  it.each<[string, Handler]>([
    ['read as it comes', (q, s) => q.on('end', () => s.end('x')).resume()],
    [
      'read later',
      async (q, s) => {
        await sleep(10)
        q.resume().on('end', () => s.end('x'))
      },
    ],
    ['answered and not read', (_q, s) => s.end('x')],
    [
      'answered before it is read',
      (q, s) => {
        s.end('x')
        q.resume()
      },
    ],
    [
      'iterated',
      async (q, s) => {
        let text = ''
        for await (const part of q.setEncoding('utf8')) text += part
        s.end(text)
      },
    ],
    ['piped back', (q, s) => q.pipe(s)],
    [
      'read by `readable`',
      (q, s) =>
        q
          .on('readable', () => {
            while (q.read() !== null);
          })
          .on('end', () => s.end()),
    ],
  ])('a body that is %s', async (_what, handler) => {
    const { answer, failures } = await alike(
      (request, response, note) => {
        const { complete, headers, httpVersion, method, url } = request
        note([complete, headers['content-length'], headers['transfer-encoding'], httpVersion, method, url])
        for (const event of ['end', 'close']) request.on(event, () => note([event, request.complete]))
        for (const event of ['finish', 'close']) response.on(event, () => note([event, request.complete]))
        return handler(request, response, note)
      },
      {
        method: 'POST',
        headers: { 'content-length': '10', 'x-A': 'b' },
        parts: ['hello', ' moon'].map((part) => part.padEnd(5)),
      },
    )
    expect([answer === 'cut', failures]).toEqual([false, []])
  })

  it.each<[string, Handler]>([
    ['before the answer', () => {}],
    [
      'while its answer is written',
      (_q, s) => {
        s.write('part')
      },
    ],
    ['while it reads', (q) => q.resume()],
  ])('a caller that leaves %s', async (what, handler) => {
    const { notes } = await alike(
      (request, response, note) => {
        watch(request, response, note)
        handler(request, response, note)
        if (what === 'while it reads') request.once('data', () => note('now'))
        else setTimeout(() => note('now'), 10)
      },
      what === 'while it reads'
        ? { method: 'POST', headers: { 'content-length': '99' }, parts: ['some'], cutAt: 'now' }
        : { cutAt: 'now' },
    )
    expect(JSON.stringify(notes)).toContain('aborted')
  })
})

describe('a request', () => {
  it('has its headers in every view, and its trailers', async () => {
    const { notes } = await alike(
      async (request, response, note) => {
        note([request.headers['x-one'], request.headersDistinct['x-one'], request.rawHeaders.includes('1')])
        for await (const part of request) note(String(part))
        note([request.trailers, request.rawTrailers.length, request.trailersDistinct])
        response.end()
      },
      {
        method: 'POST',
        headers: { 'x-one': '1', trailer: 'x-sum' },
        parts: ['body'],
        trailers: { 'x-sum': '42', 'inmesh-peer': 'root' },
      },
    )
    expect(notes).toEqual([['1', ['1'], true], 'body', [{ 'x-sum': '42' }, 2, { 'x-sum': ['42'] }]])
  })

  it.each(['100-continue', '100-CONTINUE', 'something'])('may expect %s', async (expect_) => {
    await alike((request, response) => request.pipe(response), {
      method: 'POST',
      headers: { expect: expect_, 'content-length': '4' },
      parts: ['body'],
    })
    await alikeApp(
      (note: Note) => {
        const server = createServer((_request, response) => response.end('plain'))
        server.on('checkContinue', (_request, response) => {
          note('continue')
          response.writeContinue()
          response.end('checked')
        })
        server.on('checkExpectation', (_request, response) => {
          note('expectation')
          response.writeHead(417).end('checked')
        })
        return server
      },
      { method: 'POST', headers: { expect: expect_, 'content-length': '4' }, parts: ['body'] },
    )
  })

  it('has a signal that a whole answer does not abort, and a lost caller does', async () => {
    const handler = (request: IncomingMessage, response: ServerResponse, note: Note): void => {
      const { signal } = request as { signal?: AbortSignal }
      signal?.addEventListener('abort', () => note('aborted'))
      response.on('close', () => setImmediate(() => note(signal?.aborted)))
      if (request.url === '/answered') response.end('x')
      else note('waiting')
    }
    await alike(handler, { path: '/answered' })
    await alike(handler, { cutAt: 'waiting' })
  })
})

describe('streams of Node', () => {
  it('finish, or fail, as they do over HTTP/1.1', async () => {
    await alike(async (request, response, note) => {
      void finished(response).then(() => note('response finished'))
      void finished(request).then(() => note('request finished'))
      await pipeline(Readable.from(['a', 'b']), response)
      note('piped')
    })
    await alike(
      async (request, response, note) => {
        setTimeout(() => note('now'), 10)
        const slow = new Readable({ read() {} })
        slow.push('part')
        await pipeline(slow, response).catch((error: NodeJS.ErrnoException) => note(error.code))
        await finished(request).catch((error: NodeJS.ErrnoException) => note(error.code))
      },
      { cutAt: 'now' },
    )
    await alike(
      async (request, response, note) => {
        const parts: string[] = []
        const sink = new Writable({
          write: (part, _encoding, done) => {
            parts.push(String(part))
            setTimeout(done, 1)
          },
        })
        await pipeline(request, sink)
        note(parts.join(''))
        response.end()
      },
      { method: 'POST', parts: Array.from({ length: 20 }, (_, i) => `${i},`) },
    )
  })

  it('wait for `drain`', async () => {
    const { notes } = await alike(async (_request, response, note) => {
      const part = Buffer.alloc(65_536, 'x')
      let waits = 0
      for (let i = 0; i < 64; i++) {
        if (response.write(part)) continue
        waits += 1
        if (!response.writableNeedDrain) note('no need')
        await new Promise((resolve) => response.once('drain', resolve))
        if (response.writableNeedDrain) note('still in need')
      }
      note(waits > 0)
      response.end()
    })
    expect(notes).toEqual([true])
  })
})

describe('timeouts that a handler sets', () => {
  it.each<[string, (request: IncomingMessage, response: ServerResponse, note: Note) => unknown]>([
    [
      'of the request',
      (q, s, note) =>
        q.setTimeout(20, () => {
          note('late')
          s.end('late')
        }),
    ],
    [
      'of the response',
      (_q, s, note) =>
        s.setTimeout(20, () => {
          note('late')
          s.end('late')
        }),
    ],
    [
      'of the socket',
      (q, s, note) =>
        q.socket.setTimeout(20, () => {
          note('late')
          s.end('late')
        }),
    ],
    [
      'of the socket, with a listener of the response',
      (q, s, note) => {
        s.on('timeout', () => note('response'))
        q.socket.setTimeout(20, () => s.end('late'))
      },
    ],
    ['of the socket, without a listener', (q) => q.socket.setTimeout(20)],
    [
      'that is taken back',
      (q, s) => {
        q.socket.setTimeout(5)
        q.socket.setTimeout(0)
        setTimeout(() => s.end('in time'), 30)
      },
    ],
  ])('%s', async (_what, handler) => {
    await alike(handler)
  })
})

describe('an answer that begins after its exchange was cut off', () => {
  it.each<[string, (response: ServerResponse) => unknown]>([
    ['with its end', (s) => s.end()],
    ['with its head', (s) => s.writeHead(204).end()],
    ['with a body', (s) => s.end('late')],
  ])('%s, does not finish', async (_what, answer) => {
    await alike((q, s, note) => {
      for (const event of ['finish', 'close']) s.on(event, () => note(event))
      q.socket.destroy()
      setTimeout(answer, 10, s)
    })
  })
})
