/** How answers end: early, twice, too short, destroyed, or never. The same over every transport. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { alike, type Handler, type Sent, watch } from './all-transports.ts'

describe('an answer is complete for its client, though its handler never ends it,', () => {
  it.each<[string, Handler, Sent?]>([
    [
      'with 204',
      (_q, s) => {
        s.statusCode = 204
        s.flushHeaders()
      },
    ],
    [
      'with 304',
      (_q, s) => {
        s.statusCode = 304
        s.flushHeaders()
      },
    ],
    ['to HEAD', (_q, s) => s.flushHeaders(), { method: 'HEAD' }],
    ['without a body, by its length', (_q, s) => s.writeHead(200, { 'content-length': 0 }).flushHeaders()],
    ['with the last byte of its length', (_q, s) => void s.writeHead(200, { 'content-length': 5 }).write('hello')],
    [
      'with the last byte of its length, in pieces',
      (_q, s) => {
        s.writeHead(200, { 'content-length': 5 }).write('he')
        setImmediate(() => s.write('llo'))
      },
    ],
    [
      'with the last byte of a long one, and its writer goes on',
      (_q, s, note) => {
        s.writeHead(200, { 'content-length': 300_000 })
        note(s.write('x'.repeat(300_000)))
        s.once('drain', () => note('drain'))
      },
    ],
    [
      'with the last byte of one as long as the high-water mark, and its writer goes on',
      (_q, s, note) => {
        s.writeHead(200, { 'content-length': 65_536 })
        note(s.write('x'.repeat(65_536)))
        s.once('drain', () => note('drain'))
      },
    ],
  ])('%s', async (_what, handler, sent = {}) => {
    const unended = new Set<ServerResponse>()
    const { answer } = await alike(
      (request, response, note) => {
        unended.add(response)
        return handler(request, response, note)
      },
      {
        ...sent,
        answered: () => {
          for (const response of unended) response.end()
        },
      },
    )
    expect(answer).not.toBe('cut')
  })
})

describe('an answer that its handler ends and then gives up', () => {
  const few = 'x'.repeat(10)
  const many = 'x'.repeat(300_000)
  it.each<[string, (request: IncomingMessage, response: ServerResponse) => unknown]>([
    ['by destroying the response', (_q, s) => s.end(few).destroy()],
    ['by destroying the response, when it is long', (_q, s) => s.end(many).destroy()],
    [
      'by destroying the response in the next turn, when it is long',
      (_q, s) => s.end(many, () => {}) && setImmediate(() => s.destroy()),
    ],
    ['by destroying the request', (q, s) => s.end(few) && q.destroy()],
    ['by destroying the socket', (q, s) => s.end(few) && q.socket.destroy()],
    ['by ending the socket', (q, s) => s.end(many) && q.socket.end()],
  ])('%s, arrives whole', async (_what, handler) => {
    const { answer, notes } = await alike((request, response, note) => {
      for (const event of ['finish', 'error', 'close']) response.on(event, () => note(event))
      handler(request, response)
    })
    expect(answer).not.toBe('cut')
    expect(notes).toEqual(['finish', 'close'])
  })
})

describe('an answer that is given up before its end', () => {
  it.each<[string, Handler]>([
    ['in the turn of its first bytes', (_q, s) => [s.write('x'), s.destroy()]],
    ['with its head flushed', (_q, s) => [s.flushHeaders(), s.destroy()]],
    [
      'by its request, while it flows',
      (q, s) => {
        s.write('a')
        setTimeout(() => q.destroy(), 10)
      },
    ],
    [
      'by its request, with an error, while it flows',
      (q, s) => {
        s.write('a')
        setTimeout(() => q.destroy(new Error('mine')), 10)
      },
    ],
    ['by ending its socket', (q, s) => [s.write('x'), q.socket.end()]],
    ['by a reset of its socket', (q) => q.socket.resetAndDestroy()],
    ['by a timeout of the response that nobody handles', (_q, s) => s.setTimeout(20)],
  ])('%s, is cut', async (_what, handler) => {
    const { answer, notes } = await alike((request, response, note) => {
      for (const event of ['aborted', 'error', 'close']) request.on(event, () => note(`request ${event}`))
      for (const event of ['finish', 'error', 'close']) response.on(event, () => note(event))
      handler(request, response, note)
    })
    expect(answer).toBe('cut')
    expect(notes).not.toContain('finish')
  })

  it('in the turn of its first bytes, with its request read, is cut and harms nobody', async () => {
    const { answer } = await alike(
      (request, response) => {
        request.resume().on('end', () => {
          response.write('piece')
          process.nextTick(() => response.destroy())
        })
      },
      { method: 'POST', parts: ['some', 'body'] },
    )
    expect(answer).toBe('cut')
  })

  it('refuses what is written later', async () => {
    const { answer } = await alike((request, response, note) => {
      watch(request, response, note)
      response.destroy()
      note(response.write('x', (error) => note((error as NodeJS.ErrnoException).code)))
      response.end('y', () => note('never'))
    })
    expect(answer).toBe('cut')
  })
})

describe('a length that is not kept', () => {
  it.each<[string, Handler, Sent?]>([
    ['by the first write', (_q, s) => s.writeHead(200, SHORT).end('few')],
    ['in pieces', (_q, s) => [s.writeHead(200, SHORT).write('f'), setTimeout(() => s.end('ew'), 5)]],
    ['with a body to read', (_q, s) => s.writeHead(200, SHORT).end('few'), { method: 'POST', parts: ['body'] }],
  ])('%s, cuts the answer, and its handler does not notice', async (_what, handler, sent) => {
    const { answer, notes } = await alike((request, response, note) => {
      for (const event of ['finish', 'error', 'close']) response.on(event, () => note(event))
      handler(request, response, note)
    }, sent)
    expect([answer, notes]).toEqual(['cut', ['finish', 'close']])
  })

  it('is refused with strictContentLength', async () => {
    const { notes } = await alike((_q, response, note) => {
      response.strictContentLength = true
      response.writeHead(200, { 'content-length': 2 })
      for (const text of ['three', 'x', 'ok']) {
        try {
          response.end(text)
          note(text)
        } catch (error) {
          note((error as NodeJS.ErrnoException).code)
        }
      }
    })
    expect(notes).toEqual(['ERR_HTTP_CONTENT_LENGTH_MISMATCH', 'ERR_HTTP_CONTENT_LENGTH_MISMATCH', 'ok'])
  })
})

/** Over HTTP/1.1, the end of the connection shows that it is short. */
const SHORT = { 'content-length': 9, connection: 'close' }

describe('what a handler does once too often', () => {
  it.each<[string, Handler]>([
    [
      'ends with another body',
      (_q, s, note) => {
        s.end('a')
        s.end('b', ((error?: NodeJS.ErrnoException) => note(error?.code)) as () => void)
      },
    ],
    [
      'ends without a body',
      (_q, s, note) => {
        s.end('a', () => note('first'))
        s.end(((error?: NodeJS.ErrnoException) => note(error?.code)) as () => void)
      },
    ],
    [
      'writes after its end',
      (_q, s, note) => {
        s.end('a')
        note(s.write('b', (error) => note((error as NodeJS.ErrnoException).code)))
      },
    ],
    [
      'writes after `finish`',
      (_q, s, note) =>
        s.end('a').on('finish', () => note(s.write('b', (error) => note((error as NodeJS.ErrnoException).code)))),
    ],
    [
      'ends after `close`',
      (_q, s, note) =>
        s.end('a').on('close', () => s.end('b', ((error?: NodeJS.ErrnoException) => note(error?.code)) as () => void)),
    ],
    [
      'sends heads twice',
      (_q, s, note) => {
        for (const status of [200, 201]) {
          try {
            s.writeHead(status)
          } catch (error) {
            note((error as NodeJS.ErrnoException).code)
          }
        }
        s.statusCode = 500
        s.end('x')
        s.flushHeaders()
      },
    ],
    [
      'sends trailers to HEAD',
      (_q, s) => {
        s.write('x')
        s.addTrailers({ a: 'b' })
        s.end()
      },
    ],
  ])('%s, harms nothing', async (what, handler) => {
    const sent = what.endsWith('HEAD') ? { method: 'HEAD' } : {}
    const { answer, failures } = await alike((request, response, note) => {
      watch(request, response, note)
      return handler(request, response, note)
    }, sent)
    expect([answer === 'cut', failures]).toEqual([false, []])
  })
})

describe('a writer waits', () => {
  it.each<[string, readonly number[]]>([
    ['for a first piece beyond the high-water mark', [300_000]],
    ['for one as long as it', [65_536]],
    ['for none of a few small ones', [1_000, 1_000, 1_000]],
    ['for the piece that fills it', [30_000, 300_000]],
  ])('%s', async (_what, pieces) => {
    const { notes } = await alike((_q, response, note) => {
      note([response.writableHighWaterMark, response.writableLength, response.writableNeedDrain])
      for (const bytes of pieces) {
        note([response.write(Buffer.alloc(bytes, 'x')), response.writableNeedDrain, response.writableLength >= bytes])
      }
      if (!response.writableNeedDrain) response.end()
      response.once('drain', () => {
        note([response.writableNeedDrain, response.writableLength < response.writableHighWaterMark])
        response.end()
      })
    })
    expect(notes).toContainEqual(pieces.at(-1)! >= 65_536 ? [false, true, true] : [true, false, true])
  })

  it('also after a flushed head, and its callbacks come in order', async () => {
    const { notes } = await alike((_q, response, note) => {
      response.flushHeaders()
      setImmediate(() => {
        note(response.write(Buffer.alloc(70_000), () => note('written')))
        response.end('x', () => note('ended'))
      })
    })
    expect(notes).toEqual([false, 'written', 'ended'])
  })
})
