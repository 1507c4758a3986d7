/** What works over HTTP/1.1 works over `inmesh/1`: answers. Each case runs over both. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { alike, type Handler } from './all-transports.ts'

describe('the head of an answer', () => {
  it.each<[string, Handler]>([
    ['an object', (_q, s) => s.writeHead(201, { 'X-One': '1', 'x-two': ['a', 'b'] }).end('x')],
    ['a reason and an object', (_q, s) => s.writeHead(200, 'Very Fine', { 'x-one': 1 }).end('x')],
    ['a flat list', (_q, s) => s.writeHead(200, ['set-cookie', 'a=1', 'set-cookie', 'b=2', 'x-one', '1']).end('x')],
    [
      'a list of pairs',
      (_q, s) =>
        s
          .writeHead(200, [
            ['x-one', '1'],
            ['x-one', '2'],
          ] as never)
          .end('x'),
    ],
    [
      'headers set before',
      (_q, s) => s.setHeader('x-one', 'set').setHeader('x-two', '2').writeHead(200, { 'x-one': 'new' }).end('x'),
    ],
    [
      'setHeaders',
      (_q, s) =>
        s
          .setHeaders(
            new Headers([
              ['set-cookie', 'a=1'],
              ['set-cookie', 'b=2'],
              ['x', '1'],
            ]),
          )
          .end('x'),
    ],
    [
      'appendHeader',
      (_q, s) => s.appendHeader('x', '1').appendHeader('x', '2').appendHeader('set-cookie', ['a=1', 'b=2']).end(),
    ],
    [
      'a removed date',
      (_q, s) => {
        s.removeHeader('date')
        s.end('x')
      },
    ],
    [
      'a removed length',
      (_q, s) => {
        s.removeHeader('content-length')
        s.end('x')
      },
    ],
    [
      'statusMessage',
      (_q, s) => {
        s.statusCode = 404
        s.statusMessage = 'Nowhere'
        s.end('x')
      },
    ],
    ['an unknown status', (_q, s) => s.writeHead(799).end('x')],
    ['spaces around a value', (_q, s) => s.setHeader('x', ' \t padded ').setHeader('y', '').end('x')],
    ['obs-text', (_q, s) => s.setHeader('x', 'caf\u00e9').end(Buffer.from('x'))],
    [
      'many headers',
      (_q, s) => {
        for (let i = 0; i < 100; i++) s.setHeader(`x-${i}`, `value ${i}`)
        s.end()
      },
    ],
    [
      'headers of the connection',
      (_q, s) =>
        s.writeHead(200, { connection: 'close', 'keep-alive': 'timeout=1', 'transfer-encoding': 'chunked' }).end('x'),
    ],
  ])('%s', async (what, handler) => {
    const { failures, answer } = await alike(handler, { notOverHttp2: what === 'an unknown status' })
    expect([failures, answer]).not.toContain('cut')
    expect(failures).toEqual([])
  })

  it('is refused alike where Node refuses it', async () => {
    const { notes } = await alike((_request, response, note) => {
      const attempt = (work: () => unknown): void => {
        try {
          work()
          note('taken')
        } catch (error) {
          note((error as { code: string }).code)
        }
      }
      attempt(() => response.setHeader('bad name', '1'))
      attempt(() => response.setHeader('x', 'line\nbreak'))
      attempt(() => response.writeHead(42))
      attempt(() => response.setHeader('trailer', 'x').writeHead(200, { 'content-length': 1 }))
      response.removeHeader('trailer')
      response.removeHeader('content-length')
      response.writeHead(200)
      attempt(() => response.writeHead(200))
      attempt(() => response.setHeader('x', '1'))
      attempt(() => response.writeContinue())
      attempt(() => response.writeProcessing())
      attempt(() => response.writeEarlyHints({ link: '</a>; rel=preload' }))
      attempt(() => response.write(null))
      attempt(() => response.write(5 as never))
      note(response.headersSent)
      response.end()
    })
    expect(notes.filter((note) => note === 'ERR_HTTP_HEADERS_SENT')).toHaveLength(5)
  })
})

describe('the body of an answer', () => {
  const long = 'é'.repeat(200_000)
  it.each<[string, Handler]>([
    ['nothing', (_q, s) => s.end()],
    ['an empty string', (_q, s) => s.end('')],
    ['a head alone', (_q, s) => s.writeHead(200).end()],
    ['text', (_q, s) => s.end('caf\u00e9')],
    ['latin1', (_q, s) => s.end('caf\u00e9', 'latin1')],
    ['base64', (_q, s) => s.end('Y2Fm', 'base64')],
    [
      'hex in pieces',
      (_q, s) => {
        s.write('6361', 'hex')
        s.end('66', 'hex')
      },
    ],
    ['a Uint8Array', (_q, s) => s.end(new Uint8Array([97, 98]))],
    [
      'pieces in one turn',
      (_q, s) => {
        s.write('a')
        s.write('b')
        s.end('c')
      },
    ],
    [
      'pieces in several turns',
      (_q, s) => {
        s.write('a')
        setImmediate(() => {
          s.write('b')
          setImmediate(() => s.end())
        })
      },
    ],
    [
      'corked pieces',
      (_q, s) => {
        s.cork()
        s.write('a')
        s.write('b')
        s.uncork()
        s.end('c')
      },
    ],
    [
      'a flushed head',
      (_q, s) => {
        s.flushHeaders()
        setTimeout(() => s.end('late'), 5)
      },
    ],
    ['a long one at once', (_q, s) => s.end(long)],
    ['a long one with its length', (_q, s) => s.writeHead(200, { 'content-length': 400_000 }).end(long)],
    ['a stream', (_q, s) => pipeline(Readable.from(Array.from({ length: 100 }, () => 'x'.repeat(5_000))), s)],
    ['HEAD', (_q, s) => s.writeHead(200, { 'content-length': 5 }).end('five!')],
    ['204', (_q, s) => s.writeHead(204).end('nothing')],
    [
      '304',
      (_q, s) => {
        s.statusCode = 304
        s.write('no')
        s.end()
      },
    ],
    [
      'more than its length',
      (_q, s) => {
        s.writeHead(200, { 'content-length': 2 })
        s.end('ab')
      },
    ],
  ])('%s', async (what, handler) => {
    const { failures } = await alike(handler, what === 'HEAD' ? { method: 'HEAD' } : {})
    expect(failures).toEqual([])
  })

  it('is cut when it is shorter than its length, and checked by strictContentLength', async () => {
    expect(
      (
        await alike((_q, s) => {
          s.writeHead(200, { 'content-length': 9, connection: 'close' })
          s.end('few')
        })
      ).answer,
    ).toBe('cut')
    const { notes } = await alike((_request, response, note) => {
      response.strictContentLength = true
      response.writeHead(200, { 'content-length': 2 })
      try {
        response.write('three')
      } catch (error) {
        note((error as { code: string }).code)
      }
      response.end('ok')
    })
    expect(notes).toEqual(['ERR_HTTP_CONTENT_LENGTH_MISMATCH'])
  })
})

describe('beside the body', () => {
  it('trailers follow it', async () => {
    const { answer } = await alike((_request, response) => {
      response.writeHead(200, { trailer: 'x-sum, x-more' })
      response.write('body')
      response.addTrailers({ 'X-Sum': '42', 'x-more': 'yes' })
      response.end()
    })
    expect(answer).toMatchObject({ trailers: { 'x-sum': '42', 'x-more': 'yes' } })
    await alike((_q, s) => {
      s.addTrailers([['a', '1']] as never)
      s.writeHead(200, { 'content-length': 1 })
      s.end('x')
    })
    await alike((_q, s) => {
      s.addTrailers({ a: '1' })
      s.end()
    })
  })

  it('informational answers precede it', async () => {
    const { answer } = await alike((_request, response, note) => {
      response.writeProcessing()
      response.writeEarlyHints({ link: '</a.css>; rel=preload', 'x-hint': '1' }, () => note('hinted'))
      response.writeContinue(() => note('continued'))
      setImmediate(() => response.end('done'))
    })
    expect(answer).toMatchObject({
      body: 'done',
      informational: [
        [102, {}],
        [103, { 'x-hint': '1' }],
        [100, {}],
      ],
    })
  })
})
