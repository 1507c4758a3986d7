/**
 * Who made a status, the peer or our own grpc-js, decides what it means; the words of its details
 * never do.
 */
import { constants } from 'node:http2'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { outcomeOfStatus } from '../../../src/client/grpc/outcome.ts'
import type { ScriptedGrpcCall } from '../../rigs/scripted-grpc-server.ts'
import { until } from '../http/rig.ts'
import { KINDS } from './kinds.ts'
import { answerWell, causeOf, grpcFailure, grpcRigOver, type Item, serveGrpc, stock } from './rig.ts'

const { status } = grpc
/** Statuses that say something bad of the peer; all others are answers. */
const FAILURES: readonly number[] = [
  status.UNKNOWN,
  status.DEADLINE_EXCEEDED,
  status.RESOURCE_EXHAUSTED,
  status.INTERNAL,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]

/** What grpc-js says by itself, or begins to. */
const WORDS = [
  'Failed to decompress the parcel',
  'Received HTTP status code 404',
  'No status information received',
  'Received message larger than max (5 vs 4)',
  'Received message compressed with unsupported encoding: brotli',
  'Received RST_STREAM with code 2 (Internal server error)',
  'Call cancelled',
  'Write error: disk full',
  'Connection dropped',
  'Keepalive timeout',
  'Failed to connect the dots',
  'Failed to start HTTP/2 stream with error x',
  'Stream refused by server',
  'No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1',
  'Name resolution failed for target dns:nowhere',
  'Getting metadata from plugin failed with error: expired',
  '"authorization" metadata cannot have multiple values',
  'Bandwidth exhausted or memory limit exceeded',
  'Protocol not secure enough',
  'Channel closed before call started',
]

const PLACES: Readonly<Record<string, (call: ScriptedGrpcCall, finish: () => void) => void>> = {
  'in trailers alone': (_call, finish) => finish(),
  'behind headers': (call, finish) => {
    call.respond()
    call.stream.session!.ping(finish)
  },
  'behind headers in the same packet': (call, finish) => {
    call.respond()
    finish()
  },
  'behind a message': (call, finish) => {
    call.send(stock('a'))
    call.stream.session!.ping(finish)
  },
}

describe('a status of the peer', () => {
  it.each(Object.keys(PLACES))('%s is its answer, in whatever words, and is asked for once', async (place) => {
    let next = { code: 0, details: '' }
    const server = await serveGrpc(async (call) => {
      await call.message()
      const { code, details } = next
      PLACES[place]!(call, () => call.finish(code, details))
    })
    const rig = grpcRigOver([server.port])
    for (const [i, details] of WORDS.entries()) {
      // With each word the two that grpc-js itself says most, and one of all.
      for (const code of [status.UNAVAILABLE, status.INTERNAL, 1 + (i % 16)]) {
        next = { code, details }
        const before = server.streams
        const answers = await Promise.all(KINDS.map((kind) => kind.run(rig.client)))
        for (const [k, { error }] of answers.entries()) {
          const failed = FAILURES.includes(code)
          const cause = error?.cause === undefined ? undefined : causeOf(error)
          const told = [KINDS[k]!.name, error?.code, error?.details, cause?.code, cause?.sent]
          const busy = code === status.UNAVAILABLE || code === status.RESOURCE_EXHAUSTED
          const expected = failed ? [busy ? 'overloaded' : 'server-error', true] : [undefined, undefined]
          expect(told).toEqual([KINDS[k]!.name, code, details, ...expected])
        }
        expect(server.streams - before).toBe(KINDS.length)
      }
    }
  })

  it('is decoded as far as it is encoded', async () => {
    const said: Readonly<Record<string, string>> = {
      'a%23b%2Fc%3F': 'a#b/c?',
      '100%25': '100%',
      '50 % off, %zz %E4': '50 % off, %zz %E4',
      'raw % and %C3%BC': 'raw % and ü',
      '%F0%9F%98%80': '😀',
      '%ED%A0%BD': '%ED%A0%BD',
      '%': '%',
    }
    const server = await serveGrpc(async (call, headers) => {
      await call.message()
      call.finish(3, '', { 'grpc-message': headers['x-say'] as string })
    })
    const rig = grpcRigOver([server.port])
    for (const [raw, decoded] of Object.entries(said)) {
      const metadata = new grpc.Metadata()
      metadata.set('x-say', raw)
      const { code, details } = await grpcFailure(rig.client.promises.get({ sku: 'a' }, { metadata }))
      expect([code, details]).toEqual([3, decoded])
    }
  })

  it('is one also with credentials, which are added to a copy of the metadata', async () => {
    const server = await serveGrpc(async (call) => {
      await call.message()
      call.finish(status.UNAVAILABLE, 'Stream refused by server')
    })
    const rig = grpcRigOver([server.port])
    const credentials = grpc.credentials.createFromMetadataGenerator((_options, done) => {
      const metadata = new grpc.Metadata()
      metadata.set('authorization', 'Bearer one')
      done(null, metadata)
    })
    const { error } = await KINDS[0]!.begin(rig.client, { credentials }).ended
    expect([error?.details, causeOf(error).code]).toEqual(['Stream refused by server', 'overloaded'])
    expect(server.calls.map(({ headers }) => headers.authorization)).toEqual(['Bearer one'])
  })

  it('is all that is believed of a stream that could not be watched: what it says was executed', () => {
    const unseen = { leaving: true, stream: undefined, httpStatus: 0, trailers: undefined }
    const source = { ...unseen, headers: undefined, answered: false, call: { idempotent: true } }
    const words = { code: status.UNAVAILABLE, details: 'Stream refused by server', metadata: new grpc.Metadata() }
    expect(outcomeOfStatus(words, undefined as never, source)).toMatchObject({ verdict: 'failure', code: 'overloaded' })
  })
})

describe('credentials of a call', () => {
  it.each([
    ['that fail with a status of their own', status.UNAUTHENTICATED, status.UNAUTHENTICATED],
    ["that fail with a status that is no one's to give but the peer's (gRFC A54)", status.NOT_FOUND, status.INTERNAL],
    ['that give a second authorization', 0, status.INTERNAL],
  ])('%s end the call, which no peer is to blame for', async (_name, given, code) => {
    const server = await serveGrpc(answerWell)
    const rig = grpcRigOver([server.port])
    const credentials = grpc.credentials.createFromMetadataGenerator((_options, done) => {
      const metadata = new grpc.Metadata()
      metadata.set('authorization', 'Bearer two')
      if (given === 0) done(null, metadata)
      else done(Object.assign(new Error('no key'), { code: given }))
    })
    const metadata = new grpc.Metadata()
    metadata.set('authorization', 'Bearer one')
    for (const kind of KINDS) {
      const { error } = await kind.begin(rig.client, { credentials }, metadata).ended
      expect([kind.name, error?.code, causeOf(error).code, causeOf(error).sent]).toEqual([
        kind.name,
        code,
        'cancelled',
        false,
      ])
    }
    expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(Array(4).fill('cancelled'))
    // Nothing is left of them: the connection is as it was.
    expect((await rig.client.promises.get({ sku: 'a' })).sku).toBe('a')
    await until(() => server.calls.every(({ gone }) => gone) && rig.endpoint.pending === 0)
  })
})

describe('an answer that is complete', () => {
  it.each([constants.NGHTTP2_NO_ERROR, constants.NGHTTP2_CANCEL])(
    'counts when the rest of the requests is refused behind it (RST_STREAM %i)',
    async (code) => {
      const server = await serveGrpc(async (call) => {
        await call.message()
        call.respond()
        for (const sku of ['a', 'b', 'c'].slice(0, call.headers[':path']!.endsWith('Chat') ? 3 : 1)) {
          call.send(stock(sku))
        }
        call.stream.once('wantTrailers', () => {
          call.stream.sendTrailers({ 'grpc-status': '0' })
          setImmediate(() => call.reset(code))
        })
        call.stream.end()
        // What more comes fills the window, so that a request is always on its way.
        call.stream.pause()
      })
      const rig = grpcRigOver([server.port])
      async function* endless(): AsyncGenerator<Item> {
        for (;;) yield { sku: 'x', filler: Buffer.alloc(40_000) }
      }
      for (let i = 0; i < 20; i++) {
        expect((await rig.client.promises.upload(endless())).sku).toBe('a')
        const answers: string[] = []
        for await (const { sku } of rig.client.promises.chat(endless())) {
          await new Promise((resolve) => setTimeout(resolve, 2))
          answers.push(sku)
        }
        expect(answers).toEqual(['a', 'b', 'c'])
      }
      await until(() => rig.endpoint.pending === 0)
    },
  )
})
