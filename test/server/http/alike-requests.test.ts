/** How handlers read requests, and what their sockets say. The same over every transport. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { finished, pipeline, Readable, Writable } from 'node:stream'
import { describe, expect, it } from 'vitest'
import { alike, type Handler, type Sent } from './all-transports.ts'

const PIECES: Sent = { method: 'POST', parts: ['aa', 'bb', 'cc'] }

function codeOf(error: unknown): unknown {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? (error as Error | undefined)?.message
}

describe('a body', () => {
  it.each<[string, Handler, Sent]>([
    [
      'is read with pauses',
      (q, s, note) => {
        let text = ''
        q.on('data', (part: Buffer) => {
          text += String(part)
          q.pause()
          note(q.isPaused())
          setTimeout(() => q.resume(), 2)
        })
        q.on('end', () => s.end(text))
      },
      PIECES,
    ],
    [
      'is put back and read again',
      (q, s) => {
        q.once('data', (part) => {
          q.pause()
          q.unshift(part)
          let text = ''
          q.on('data', (again) => {
            text += String(again)
          })
          q.on('end', () => s.end(text))
          q.resume()
        })
      },
      PIECES,
    ],
    [
      'is read as text, with a character in two pieces',
      (q, s) => {
        let text = ''
        q.setEncoding('utf8').on('data', (part) => {
          text += part
        })
        q.on('end', () => s.end(text))
      },
      { method: 'POST', parts: [Buffer.from([0xc3]), Buffer.from([0xa9])] },
    ],
    [
      'is read byte by byte',
      (q, s, note) => {
        q.on('readable', () => {
          for (let byte = q.read(1); byte !== null; byte = q.read(1)) note(String(byte))
        })
        q.on('end', () => s.end())
      },
      PIECES,
    ],
    [
      'is left by its iterator, and the answer is cut',
      async (q, s, note) => {
        for await (const _ of q) break
        note([q.destroyed, s.destroyed])
        s.end('late')
      },
      { method: 'POST', headers: { 'content-length': '300000' }, parts: ['x'.repeat(300_000)] },
    ],
    [
      'is destroyed with an error, and the answer is cut',
      (q, s, note) => {
        q.on('error', (error) => note(codeOf(error)))
        q.resume().destroy(new Error('mine'))
        setTimeout(() => s.end('late'), 5)
      },
      PIECES,
    ],
  ])('%s', async (_what, handler, sent) => {
    const { failures } = await alike(handler, sent)
    expect(failures).toEqual([])
  })
})

describe('a stream that breaks off', () => {
  const breaking = (pieces: number): Readable =>
    new Readable({
      read(this: Readable & { given?: number }) {
        this.given = (this.given ?? 0) + 1
        if (this.given <= pieces) setImmediate(() => this.push('piece'))
        else this.destroy(new Error('source'))
      },
    })
  it.each<[string, Handler]>([
    [
      'before its first piece can still be answered for',
      (_q, s, note) => {
        pipeline(breaking(0), s, (error) => note(codeOf(error)))
      },
    ],
    ['cuts the answer', (_q, s, note) => pipeline(breaking(2), s, (error) => note(codeOf(error)))],
    [
      'and is only piped is answered for by the handler',
      (_q, s, note) =>
        breaking(0)
          .on('error', (error) => {
            note(codeOf(error))
            s.writeHead(502).end('broken')
          })
          .pipe(s),
    ],
    [
      'below the request is answered for by the handler',
      (q, s, note) => {
        const sink = new Writable({ write: (_part, _encoding, done) => done(new Error('sink')) })
        pipeline(q, sink, (error) => {
          note(codeOf(error))
          s.writeHead(507).end('full')
        })
      },
    ],
  ])('%s', async (_what, handler) => {
    const { failures } = await alike((...given) => void handler(...given), { method: 'POST', parts: ['body'] })
    expect(failures).toEqual([])
  })
})

describe('a handler that fails', () => {
  it.each<[string, Handler]>([
    ['before the head', () => fail()],
    ['before the head, later', async () => Promise.resolve().then(fail)],
    ['after the head', (_q, s) => [s.flushHeaders(), fail()]],
    ['after a part of the body', (_q, s) => [s.write('x'), fail()]],
    ['after a part of the body, later', async (_q, s) => [s.write('x'), await Promise.resolve(), fail()]],
    ['after a head that has not left', async (_q, s) => [s.writeHead(204), await Promise.resolve(), fail()]],
    ['after its end', (_q, s) => [s.end('whole'), fail()]],
    ['in a listener', (q) => void setImmediate(() => q.emit('error', new Error('mine')))],
  ])('%s', async (_what, handler) => {
    const { failures } = await alike(handler)
    expect(failures).toHaveLength(1)
  })
})

function fail(): never {
  throw new Error('mine')
}

describe('a socket', () => {
  it('says what one of HTTP/1.1 says', async () => {
    const { notes } = await alike((request, response, note) => {
      const { socket } = request
      note([socket === response.socket, socket === request.connection])
      for (const name of PROPERTIES) note([name, (socket as unknown as Record<string, unknown>)[name]])
      for (const name of METHODS) note([name, typeof (socket as unknown as Record<string, unknown>)[name]])
      note([typeof socket.remotePort, typeof socket.bytesRead, typeof socket.bytesWritten])
      note([socket.isPaused(), socket.setNoDelay(true) === socket])
      expect(() => socket.setEncoding('utf8')).toThrow(expect.objectContaining({ code: 'ERR_HTTP_SOCKET_ENCODING' }))
      note([socket.setKeepAlive(true, 1) === socket, socket.ref() === socket, socket.unref() === socket])
      response.end()
    })
    expect(notes).toContainEqual(['remoteAddress', '127.0.0.1'])
  })

  it('is not destroyed by a whole exchange', async () => {
    const { notes } = await alike((request, response, note) => {
      const { socket } = request
      for (const event of ['finish', 'close']) {
        response.on(event, () => note([event, response.socket, socket.destroyed, socket.remoteAddress]))
      }
      response.end()
    })
    expect(notes).toEqual([
      ['finish', null, false, '127.0.0.1'],
      ['close', null, false, '127.0.0.1'],
    ])
  })

  it.each<[string, (request: IncomingMessage, response: ServerResponse) => unknown]>([
    ['without an error', (q) => q.socket.destroy()],
    ['with an error', (q) => q.socket.destroy(new Error('mine'))],
    ['by the response', (_q, s) => s.destroy(new Error('mine'))],
  ])('reports its end %s', async (_what, handler) => {
    const { answer, notes } = await alike((request, response, note) => {
      const { socket } = request
      socket.on('error', (error) => note(codeOf(error)))
      socket.on('close', (hadError) => note(['close', hadError, socket.destroyed, socket.closed]))
      finished(socket, (error) => note(['finished', codeOf(error)]))
      handler(request, response)
    })
    expect(answer).toBe('cut')
    expect(JSON.stringify(notes)).toContain('close')
  })
})

const PROPERTIES = [
  'allowHalfOpen',
  'authorized',
  'bufferSize',
  'closed',
  'connecting',
  'destroyed',
  'encrypted',
  'errored',
  'localAddress',
  'localFamily',
  'pending',
  'readable',
  'readableAborted',
  'readableEnded',
  'readableFlowing',
  'readableLength',
  'readableObjectMode',
  'readyState',
  'remoteAddress',
  'remoteFamily',
  'timeout',
  'writable',
  'writableEnded',
  'writableFinished',
  'writableHighWaterMark',
  'writableLength',
  'writableNeedDrain',
  'writableObjectMode',
]

const METHODS = [
  'address',
  'cork',
  'destroySoon',
  'getPeerCertificate',
  'isPaused',
  'pause',
  'read',
  'resetAndDestroy',
  'resume',
  'setDefaultEncoding',
  'setEncoding',
  'uncork',
  'unpipe',
]
