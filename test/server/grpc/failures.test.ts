import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { currentCall } from '../../../src/server/current-call.ts'
import { begin, KINDS, type Kind, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { OneAtATime, pause, serverStack } from '../rig.ts'
import { meshClient, serveShop, shopClient } from './rig.ts'

type AnyHandler = (call: grpc.ServerDuplexStream<unknown, unknown>, answer?: (...given: unknown[]) => void) => unknown

function all(handler: AnyHandler): ShopHandlers {
  const any = handler as never
  return { Get: any, Upload: any, Watch: any, Chat: any }
}

async function outcomes(handler: AnyHandler, kinds: readonly Kind[] = KINDS) {
  const failures: unknown[] = []
  const limit = new OneAtATime()
  const { server } = await serveShop(
    all(handler),
    {},
    {
      onHandlerError: (error) => failures.push(error),
      stack: serverStack([limit]),
    },
  )
  const client = shopClient(server.port)
  const ended = []
  for (const kind of kinds) {
    const status = await begin(client, kind).ended
    ended.push(`${status.code} ${status.details}`)
    // The status reaches the client before the server has heard of the end of its stream.
    await expect.poll(() => limit.running).toBe(0)
  }
  return { ended, failures }
}

const secret = new Error('secret of the house')
const UNKNOWN = '2 Unknown error'

describe('a handler that fails', () => {
  it.each<[string, AnyHandler]>([
    [
      'throws',
      () => {
        throw secret
      },
    ],
    ['rejects', async () => Promise.reject(secret)],
    [
      'rejects later',
      async () => {
        await pause(5)
        throw secret
      },
    ],
    ['rejects with nothing', async () => Promise.reject(undefined)],
  ])('%s: the caller gets UNKNOWN without the message, and the permit comes back', async (_how, handler) => {
    const { ended, failures } = await outcomes(handler)
    expect(ended).toEqual([UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN])
    expect(failures).toHaveLength(4)
  })

  it('fails only its call by what a listener throws or rejects with', async () => {
    for (const event of ['data', 'end'])
      for (const how of ['throws', 'rejects']) {
        const { ended } = await outcomes(
          (call) => {
            if (event === 'end') call.resume()
            call.on(event, () => {
              if (how === 'throws') throw secret
              return Promise.reject(secret)
            })
          },
          ['upload', 'chat'],
        )
        expect(ended, `${event} ${how}`).toEqual([UNKNOWN, UNKNOWN])
      }
  })

  it('fails only its call by what the callback of a write throws or rejects with', async () => {
    for (const how of ['throws', 'rejects']) {
      const { ended } = await outcomes(
        (call) => {
          call.write({ sku: 'one' }, () => {
            if (how === 'throws') throw secret
            return Promise.reject(secret)
          })
        },
        ['watch', 'chat'],
      )
      expect(ended, how).toEqual([UNKNOWN, UNKNOWN])
    }
  })

  it('is not undone by what its listener of the cancellation throws', async () => {
    const { server } = await serveShop(
      all((call, answer) => {
        call.on('cancelled', () => {
          throw secret
        })
        if (answer === undefined) call.write({})
      }),
      {},
      { stack: serverStack([], 50), onHandlerError: () => {} },
    )
    expect(await begin(shopClient(server.port), 'get').ended).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED })
    const { ended } = begin(shopClient(server.port), 'upload', { deadline: Date.now() + 100 })
    expect(await ended).toMatchObject({ code: grpc.status.DEADLINE_EXCEEDED })
    await expect.poll(() => server.inFlight).toBe(0)
  })
})

describe('what a handler answers with', () => {
  it('is sent as it is where gRPC can say it, for all kinds of calls', async () => {
    for (const details of [
      'line\nbreak',
      '100 % of %41',
      'übér',
      '😀',
      'a\u0000b',
      ' lead and trail ',
      'x'.repeat(3000),
    ]) {
      const { ended } = await outcomes((call, answer) => {
        const error = { code: grpc.status.INVALID_ARGUMENT, details }
        if (answer === undefined) call.emit('error', error as never)
        else answer(error)
      })
      expect(new Set(ended)).toEqual(new Set([`3 ${details}`]))
    }
  })

  it('replaces halves of surrogate pairs, and cuts what no header has room for', async () => {
    for (const [details, told] of [
      ['ab\ud83d', '3 ab\ufffd'],
      ['\ude00cd', '3 \ufffdcd'],
      ['x'.repeat(100_000), /^3 x{16000,16384}…$/],
      ['😀'.repeat(50_000), /^3 (?:😀){1000,1400}…$/u],
    ] as const) {
      const { ended } = await outcomes((call, answer) => {
        const error = { code: grpc.status.INVALID_ARGUMENT, details }
        if (answer === undefined) call.destroy(Object.assign(new Error(), error))
        else answer(error)
      })
      for (const each of ended) {
        if (typeof told === 'string') expect(each).toBe(told)
        else expect(each).toMatch(told)
      }
    }
  })

  it('becomes UNKNOWN if gRPC has no such code, or HTTP/2 no such trailers', async () => {
    const hop = new grpc.Metadata()
    hop.set('connection', 'close')
    const large = new grpc.Metadata()
    large.set('x-large', 'x'.repeat(100_000))
    for (const error of [
      { code: 99, details: 'no such code' },
      { code: -1, details: 'no such code' },
      { code: grpc.status.NOT_FOUND, details: 'odd', metadata: { 'x-plain': 'object' } },
      { code: grpc.status.NOT_FOUND, details: 'odd', metadata: hop },
      { code: grpc.status.NOT_FOUND, details: 'odd', metadata: large },
    ]) {
      const { ended } = await outcomes((call, answer) => {
        if (answer === undefined) {
          call.write({})
          call.emit('error', error as never)
        } else answer(error)
      })
      expect(ended, JSON.stringify(error).slice(0, 80)).toEqual([UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN])
    }
  })

  it('becomes UNKNOWN if its head is no Metadata', async () => {
    for (const head of [5, 'text', { authorization: 'me' }, new Map()]) {
      const { ended } = await outcomes((call, answer) => {
        call.sendMetadata(head as never)
        if (answer === undefined) call.end()
        else answer(null, {})
      })
      expect(ended).toEqual([UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN])
    }
  })

  it('becomes UNKNOWN if its head cannot be sent', async () => {
    const hop = new grpc.Metadata()
    hop.set('transfer-encoding', 'chunked')
    const { ended } = await outcomes((call, answer) => {
      call.sendMetadata(hop)
      if (answer === undefined) call.end()
      else answer(null, {})
    })
    expect(ended).toEqual([UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN])
  })

  it('counts once: the first answer stands', async () => {
    const { ended } = await outcomes(
      (_call, answer) => {
        answer!(null, { sku: 'first' })
        answer!(null, { sku: 'second' })
        answer!({ code: grpc.status.ABORTED, details: 'third' })
      },
      ['get', 'upload'],
    )
    expect(ended).toEqual(['0 OK', '0 OK'])
  })

  it('takes an error that is no object', async () => {
    const { ended } = await outcomes((call, answer) => {
      if (answer === undefined) call.emit('error', 'plain text')
      else answer('plain text')
    })
    expect(ended).toEqual(['2 plain text', '2 plain text', '2 plain text', '2 plain text'])
  })

  it('may write after the end, or destroy its stream, and the caller hears at once', async () => {
    const late = await outcomes(
      (call) => {
        call.end()
        call.write({})
      },
      ['watch', 'chat'],
    )
    expect(late.ended).toEqual(['0 OK', '0 OK'])
    const destroyed = await outcomes((call) => void call.destroy(), ['watch', 'chat'])
    expect(destroyed.ended).toEqual([UNKNOWN, UNKNOWN])
  })

  it('may follow a loop over the requests', async () => {
    const { ended } = await outcomes(
      async (call, answer) => {
        for await (const _ of call) if (answer === undefined) call.write({})
        if (answer === undefined) call.end()
        else answer(null, {})
      },
      ['upload', 'chat'],
    )
    expect(ended).toEqual(['0 OK', '0 OK'])
  })
})

describe('interceptors of the Server', () => {
  const waits: [string, number | undefined][] = [
    ['do not wait', undefined],
    ['wait for somebody first', 2],
  ]
  it.each(waits)('know the call, and so do the handlers behind them, when they %s', async (_how, waitMs) => {
    const seen = new Map<string, Set<string | undefined>>()
    const note = (what: string): void => {
      const peers = seen.get(what) ?? new Set()
      seen.set(what, peers.add(currentCall()?.peer?.service))
    }
    const later = (next: () => void): void => {
      if (waitMs === undefined) next()
      else setTimeout(next, waitMs)
    }
    const interceptor: grpc.ServerInterceptor = (_method, call) => {
      note('interceptor')
      return new grpc.ServerInterceptingCall(call, {
        start: (next) => {
          note('start')
          next({
            onReceiveMetadata: (metadata, mdNext) => {
              note('metadata')
              later(() => mdNext(metadata))
            },
            onReceiveMessage: (message, messageNext) => {
              note('message')
              later(() => messageNext(message))
            },
            onReceiveHalfClose: (halfNext) => {
              note('half close')
              halfNext()
            },
            onCancel: () => {},
          })
        },
        sendMetadata: (metadata, next) => {
          note('send metadata')
          next(metadata)
        },
        sendMessage: (message, next) => {
          note('send message')
          next(message)
        },
        sendStatus: (status, next) => {
          note('send status')
          next(status)
        },
      })
    }
    const server = shopServer(
      all((call, answer) => {
        note('handler')
        call.on('data', () => note('data'))
        call.on('end', () => {
          note('end')
          if (answer === undefined) {
            call.write({}, () => note('written'))
            call.end()
          } else answer(null, {})
        })
        call.on('finish', () => note('finish'))
        if (call.readable !== true) {
          if (answer === undefined) {
            call.write({}, () => note('written'))
            call.end()
          } else answer(null, {})
        }
      }),
      { interceptors: [interceptor] },
    )
    const served = await serveShop(server, { mode: 'strict' })
    const [one, two] = [meshClient(served.server.port, 'one'), meshClient(served.server.port, 'two')]
    for (const kind of KINDS) {
      const both = [begin(one, kind), begin(two, kind)]
      for (const each of both) expect(await each.ended).toMatchObject({ code: grpc.status.OK })
    }
    expect([...seen.keys()].sort()).toEqual(
      [
        'data',
        'end',
        'finish',
        'half close',
        'handler',
        'interceptor',
        'message',
        'metadata',
        'send message',
        'send metadata',
        'send status',
        'start',
        'written',
      ].sort(),
    )
    for (const [what, peers] of seen) expect([what, ...[...peers].sort()]).toEqual([what, 'one', 'two'])
  })

  it('fail only their call by what they throw', async () => {
    const places = ['interceptor', 'start', 'metadata', 'message', 'half close', 'send message', 'send status'] as const
    for (const place of places) {
      const at = (here: string): void => {
        if (here === place) throw secret
      }
      const interceptors: grpc.ServerInterceptor[] = [
        (_method, call) => {
          at('interceptor')
          return new grpc.ServerInterceptingCall(call, {
            start: (next) => {
              at('start')
              next({
                onReceiveMetadata: (metadata, mdNext) => {
                  at('metadata')
                  mdNext(metadata)
                },
                onReceiveMessage: (message, messageNext) => {
                  at('message')
                  messageNext(message)
                },
                onReceiveHalfClose: (halfNext) => {
                  at('half close')
                  halfNext()
                },
                onCancel: () => {},
              })
            },
            sendMessage: (message, next) => {
              at('send message')
              next(message)
            },
            sendStatus: (status, next) => {
              at('send status')
              next(status)
            },
          })
        },
      ]
      const server = shopServer({ Get: (_call, answer) => setImmediate(() => answer(null, {})) }, { interceptors })
      const { server: served } = await serveShop(server, {}, { onHandlerError: () => {} })
      const { code, details } = await begin(shopClient(served.port), 'get').ended
      expect(`${place}: ${code} ${details}`).toBe(`${place}: ${UNKNOWN}`)
      await expect.poll(() => served.inFlight).toBe(0)
    }
  })
})
