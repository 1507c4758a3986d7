/**
 * Every fault of a gRPC server, for all four kinds of call: what policies learn, how often it is
 * tried, and what the caller gets.
 */
import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import type { ErrorCode } from '../../../src/core/errors.ts'
import type { Verdict } from '../../../src/core/outcome.ts'
import { deadPort } from '../../rigs/dead-port.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'
import type { GrpcScript, ScriptedGrpcCall } from '../../rigs/scripted-grpc-server.ts'
import { until } from '../http/rig.ts'
import { GET, KINDS, type Kind } from './kinds.ts'
import { answerWell, causeOf, grpcRigOver, muteServer, serveGrpc, stock } from './rig.ts'

const ATTEMPTS = 2
/** Attempts that were refused do not count against the limit, but are bounded all the same. */
const MOST_REFUSED = 5
/**
 * A first GOAWAY names it: the peer has not decided yet which stream is the last (RFC 9113, 6.8).
 */
const MOST_STREAMS = 2 ** 31 - 1
const HTML = `<html><body>${'sorry '.repeat(400)}</body></html>`

interface Fault {
  readonly name: string
  readonly server: ((call: ScriptedGrpcCall) => unknown) | 'none' | 'mute'
  readonly verdict: Verdict
  readonly code: ErrorCode
  readonly status: number
  /**
   * Whether an idempotent call is tried again: `single`, only if the caller has got nothing of the
   * answer. @defaultValue always
   */
  readonly again?: 'never' | 'single'
  /** Only kinds with one answer; what the others are given is no fault. */
  readonly onlySingle?: boolean
  /** Messages that a stream had delivered before. */
  readonly delivered?: number
  readonly timeoutMs?: number
  /**
   * The answer has begun: from then on a stream ends when its caller wants, which says nothing of
   * the server.
   */
  readonly begun?: boolean
}

function failure(
  name: string,
  server: (call: ScriptedGrpcCall) => unknown,
  code: ErrorCode,
  grpcStatus: number,
  more: Partial<Fault> = {},
): Fault {
  return { name, server, verdict: 'failure', code, status: grpcStatus, ...more }
}

function refused(name: string, server: Fault['server'], code: ErrorCode): Fault {
  return { name, server, verdict: 'refused', code, status: status.UNAVAILABLE }
}

/**
 * All headers and messages have reached the client when this has passed through the same
 * connection.
 */
function heard(call: ScriptedGrpcCall): Promise<void> {
  return new Promise((resolve) => call.stream.session!.ping(() => resolve()))
}

const { UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, RESOURCE_EXHAUSTED, UNKNOWN } = status
const busy = (metadata?: Record<string, string | string[]>) => (call: ScriptedGrpcCall) =>
  call.finish(UNAVAILABLE, 'busy', metadata)
/** PROTOCOL-HTTP2, "Errors"; REFUSED_STREAM and ENHANCE_YOUR_CALM say more than a status. */
const RESETS: readonly (readonly [number, number])[] = [
  ...[0, 1, 2, 3, 5, 6, 9, 10, 13].map((code) => [code, INTERNAL] as const),
  [8, status.CANCELLED],
  // The mux has no code for it.
  ...(OVER_MUX ? [] : [[12, status.PERMISSION_DENIED] as const]),
]
/** What an HTTP answer means to gRPC (http-grpc-status-mapping); the busy ones are below. */
const HTTP: readonly (readonly [number, number])[] = [
  [200, UNKNOWN],
  [400, INTERNAL],
  [401, status.UNAUTHENTICATED],
  [403, status.PERMISSION_DENIED],
  [404, status.UNIMPLEMENTED],
  [415, UNKNOWN],
  [500, UNKNOWN],
]

const FAULTS: readonly Fault[] = [
  refused('refuses the stream (REFUSED_STREAM)', (call) => call.refuse(), 'refused-by-peer'),
  refused('says GOAWAY below the stream', (call) => call.goAway({ lastStreamId: 0 }), 'refused-by-peer'),
  // INTERNAL_ERROR, ENHANCE_YOUR_CALM
  ...[2, 11].map((code) =>
    refused(
      `says GOAWAY below the stream with code ${code}`,
      (call) => call.goAway({ lastStreamId: 0, code }),
      'refused-by-peer',
    ),
  ),
  failure(
    'says GOAWAY with an error code and may have executed the stream',
    async (call) => {
      call.goAway({ code: 2 })
      await call.break()
    },
    'connection-lost',
    UNAVAILABLE,
  ),
  refused(
    'says that it was not executed',
    (call) => call.finish(14, 'full', { 'inmesh-not-executed': 'overloaded' }),
    'refused-by-peer',
  ),
  refused('refuses the connection', 'none', 'connect-failed'),
  refused('accepts and never speaks HTTP/2', 'mute', 'connect-failed'),
  failure('stalls before headers', (call) => call.stall(), 'deadline-exceeded', DEADLINE_EXCEEDED, {
    again: 'never',
    timeoutMs: 600,
  }),
  failure(
    'stalls after headers',
    (call) => {
      call.respond()
      return call.stall()
    },
    'deadline-exceeded',
    DEADLINE_EXCEEDED,
    { again: 'never', timeoutMs: 600, begun: true },
  ),
  failure(
    'trickles past the deadline',
    (call) => call.trickle(stock('a', 1, Buffer.alloc(4_000)), 5),
    'deadline-exceeded',
    DEADLINE_EXCEEDED,
    { again: 'never', timeoutMs: 600, begun: true },
  ),
  failure('breaks the connection before an answer', (call) => call.break(), 'connection-lost', UNAVAILABLE),
  failure(
    'breaks the connection within a message',
    async (call) => {
      call.respond()
      await heard(call)
      await call.break(stock('a', 1, Buffer.alloc(5_000)))
    },
    'connection-lost',
    UNAVAILABLE,
    { again: 'single' },
  ),
  failure(
    'breaks the connection after a message',
    async (call) => {
      call.send(stock('a'))
      await heard(call)
      await call.break()
    },
    'connection-lost',
    UNAVAILABLE,
    { again: 'single', delivered: 1 },
  ),
  // As gRPC C core answers to what arrives once it stops; see grpc-outcome.
  ...(OVER_MUX
    ? []
    : [
        failure(
          'answers CANCELLED behind a GOAWAY that still counts the stream',
          async (call) => {
            call.goAway({ lastStreamId: MOST_STREAMS })
            await heard(call)
            call.finish(status.CANCELLED, 'CANCELLED')
          },
          'connection-lost',
          status.CANCELLED,
        ),
      ]),
  failure(
    'resets the stream with CANCEL behind a GOAWAY that still counts it',
    async (call) => {
      call.goAway({ lastStreamId: MOST_STREAMS })
      await heard(call)
      call.reset(8)
    },
    'protocol-error',
    status.CANCELLED,
  ),
  ...RESETS.map(([code, means]) =>
    failure(`resets the stream with ${code}`, (call) => call.reset(code), 'protocol-error', means),
  ),
  ...(OVER_MUX
    ? []
    : [
        failure('resets the stream with ENHANCE_YOUR_CALM', (call) => call.reset(11), 'overloaded', RESOURCE_EXHAUSTED),
      ]),
  failure(
    'resets the stream after a message',
    async (call) => {
      call.send(stock('a'))
      await heard(call)
      call.reset(2)
    },
    'protocol-error',
    INTERNAL,
    { again: 'single', delivered: 1 },
  ),
  failure(
    'ends without trailers',
    (call) => {
      call.send(stock('a'))
      call.endWithoutTrailers()
    },
    'protocol-error',
    INTERNAL,
    { again: 'single', delivered: 1 },
  ),
  failure('answers UNAVAILABLE at once', busy(), 'overloaded', UNAVAILABLE),
  failure(
    'answers UNAVAILABLE behind headers',
    async (call) => {
      call.respond()
      await heard(call)
      call.finish(UNAVAILABLE, 'busy')
    },
    'overloaded',
    UNAVAILABLE,
    { again: 'single' },
  ),
  failure(
    'says that it was not executed behind an answer that had begun',
    async (call) => {
      call.respond()
      await heard(call)
      call.finish(UNAVAILABLE, 'busy', { 'inmesh-not-executed': 'overloaded' })
    },
    'overloaded',
    UNAVAILABLE,
    { again: 'single' },
  ),
  failure('answers UNKNOWN', (call) => call.finish(UNKNOWN, 'what'), 'server-error', UNKNOWN, { again: 'never' }),
  failure('answers with a status that there is not', (call) => call.finish(99, 'what'), 'server-error', UNKNOWN, {
    again: 'never',
  }),
  ...['ok', '', '-1', '3.5'].map((said) =>
    failure(
      `answers with '${said}' as its status`,
      (call) => call.finish(0, 'what', { 'grpc-status': said }),
      'server-error',
      UNKNOWN,
      { again: 'never' },
    ),
  ),
  failure('asks to come back after 3 ms', busy({ 'grpc-retry-pushback-ms': '3' }), 'overloaded', UNAVAILABLE),
  failure('asks to come back at once', busy({ 'grpc-retry-pushback-ms': '0' }), 'overloaded', UNAVAILABLE),
  ...['-1', 'soon', '', '1.5'].map((value) =>
    failure(
      `asks to come back in '${value}' ms`,
      busy({ 'grpc-retry-pushback-ms': value }),
      'overloaded',
      UNAVAILABLE,
      {
        again: 'never',
      },
    ),
  ),
  failure('asks twice to come back', busy({ 'grpc-retry-pushback-ms': ['3', '4'] }), 'overloaded', UNAVAILABLE, {
    again: 'never',
  }),
  failure('answers 503 without gRPC', (call) => call.answerHttp(503, 'busy'), 'overloaded', UNAVAILABLE),
  failure(
    'answers 503 with HTML',
    (call) => call.answerHttp(503, HTML, { 'content-type': 'text/html' }),
    'overloaded',
    UNAVAILABLE,
  ),
  ...HTTP.flatMap(([code, means]) => [
    failure(
      `answers ${code} with HTML`,
      (call) => call.answerHttp(code, HTML, { 'content-type': 'text/html' }),
      'protocol-error',
      means,
    ),
    failure(
      `answers ${code} without a body`,
      (call) => call.stream.respond({ ':status': code }, { endStream: true }),
      'protocol-error',
      means,
    ),
  ]),
  failure(
    'promises a longer message than it sends',
    (call) => {
      call.send(stock('a'), { length: 5_000 })
      call.finish()
    },
    'protocol-error',
    INTERNAL,
    // grpc-js reports no incomplete message at the end of a stream.
    { onlySingle: true },
  ),
  failure('sends no message where there is to be one', (call) => call.finish(), 'protocol-error', INTERNAL, {
    onlySingle: true,
  }),
  failure(
    'sends two messages where there is to be one',
    (call) => {
      call.send(stock('a'))
      call.send(stock('b'))
      call.finish()
    },
    'protocol-error',
    INTERNAL,
    { onlySingle: true },
  ),
  failure(
    'compresses a message without saying how',
    (call) => call.send(stock('a'), { compressed: true }),
    'protocol-error',
    INTERNAL,
  ),
  failure(
    'sends a message above the limit',
    (call) => call.send(Buffer.alloc(10), { length: 5_000_000 }),
    'response-too-large',
    RESOURCE_EXHAUSTED,
    { again: 'never' },
  ),
  // A handler may pass on how a call that it made failed, in grpc-js's words.
  ...['No connection established. Last error: connect ECONNREFUSED 127.0.0.1:1', 'Stream refused by server'].flatMap(
    (details) => [
      failure(`answers '${details}' at once`, (call) => call.finish(UNAVAILABLE, details), 'overloaded', UNAVAILABLE),
      failure(
        `answers '${details}' behind headers`,
        async (call) => {
          call.respond()
          await heard(call)
          call.finish(UNAVAILABLE, details)
        },
        'overloaded',
        UNAVAILABLE,
        { again: 'single' },
      ),
    ],
  ),
]

function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
}

interface Place {
  readonly port: number
  readonly executed: () => number
  readonly open: () => number
}

async function place(fault: Fault): Promise<Place> {
  let executed = 0
  if (fault.server === 'none') return { port: await deadPort(), executed: () => 0, open: () => 0 }
  if (fault.server === 'mute') return { port: (await muteServer()).port, executed: () => 0, open: () => 0 }
  const act = fault.server
  const script: GrpcScript = async (call, headers, nth) => {
    if (headers[':path'] === '/shop.Inventory/Get' && fault.timeoutMs !== undefined && nth === 0) {
      // So that the connection stands before the clock begins to run.
      await answerWell(call, headers, nth)
      return
    }
    await call.message()
    if (fault.verdict !== 'refused') executed += 1
    await act(call)
  }
  const server = await serveGrpc(script)
  return { port: server.port, executed: () => executed, open: () => server.open }
}

function triedAgain(fault: Fault, kind: Kind, idempotent: boolean): boolean {
  if (fault.verdict === 'refused') return true
  return idempotent && fault.again !== 'never' && (fault.again !== 'single' || kind.answersOnce)
}

/** Of the attempts at one that is mute; and a time in which a good one beside it is connected. */
const SETTINGS = { connectTimeoutMs: 60 }
const PATIENT_SETTINGS = { connectTimeoutMs: 500 }

/** The fault and nothing else: all attempts meet it. */
async function alone(fault: Fault, kind: Kind, idempotent: boolean): Promise<void> {
  const { port, executed, open } = await place(fault)
  const warm = fault.timeoutMs === undefined ? 0 : 1
  const rig = grpcRigOver([port], {
    retry: { attempts: ATTEMPTS },
    settings: fault.server === 'mute' ? SETTINGS : {},
    ...(fault.timeoutMs === undefined ? {} : { timeoutMs: fault.timeoutMs }),
  })
  if (warm === 1) await GET.run(rig.client)
  const { error, answers } = await kind.run(rig.client, {
    idempotent,
    ...(fault.timeoutMs === undefined ? {} : { timeout: fault.timeoutMs }),
  })
  const cause = causeOf(error)
  const attempts =
    fault.verdict === 'refused' ? ATTEMPTS + MOST_REFUSED : triedAgain(fault, kind, idempotent) ? ATTEMPTS : 1
  const sent = fault.verdict !== 'refused'
  const verdict = fault.begun === true && !kind.answersOnce ? 'cancelled' : fault.verdict
  const settled = rig.attempts.outcomes.slice(warm)
  expect({
    fault: fault.name,
    kind: kind.name,
    idempotent,
    status: error?.code,
    code: cause.code,
    sent: cause.sent,
    tried: cause.attempts.map((attempt) => attempt.code),
    settled: settled.map(({ verdict, code }) => [verdict, code]),
    admitted: rig.attempts.admitted - warm,
    call: rig.calls.outcomes.slice(warm).map(({ verdict, code }) => [verdict, code]),
    calls: rig.calls.admitted - warm,
    ended: rig.endedCalls.length - warm,
    executed: executed(),
    answers: answers.length,
    pending: rig.endpoint.pending,
  }).toEqual({
    fault: fault.name,
    kind: kind.name,
    idempotent,
    status: fault.status,
    code: fault.code,
    sent,
    tried: Array(attempts).fill(fault.code),
    settled: Array(attempts).fill([verdict, fault.code]),
    admitted: attempts,
    call: [[verdict, fault.code]],
    calls: 1,
    ended: 1,
    executed: sent ? attempts : 0,
    answers: kind.answersOnce ? 0 : (fault.delivered ?? 0),
    pending: 0,
  })
  expect(error!.details).not.toBe('')
  rig.close()
  await until(() => rig.transport.connections === 0 && open() === 0)
}

/** With a good endpoint beside: either it answers, or it hears nothing of the call. */
async function besideGood(fault: Fault, kind: Kind, idempotent: boolean): Promise<void> {
  const { port, executed } = await place(fault)
  let good = 0
  const other = await serveGrpc(async (call, headers, nth) => {
    good += 1
    await answerWell(call, headers, nth)
  })
  const rig = grpcRigOver([port, other.port], { settings: fault.server === 'mute' ? PATIENT_SETTINGS : {} })
  const { error, answers } = await kind.run(rig.client, { idempotent })
  const again = triedAgain(fault, kind, idempotent)
  expect({
    fault: fault.name,
    kind: kind.name,
    idempotent,
    failed: error !== undefined,
    answers: answers.map(({ sku }) => sku),
    executed: executed() + good,
    good,
    settled: rig.attempts.outcomes.length,
    pending: rig.cluster.endpoints.map(({ pending }) => pending),
  }).toEqual({
    fault: fault.name,
    kind: kind.name,
    idempotent,
    failed: !again,
    answers: again ? ['a'] : Array(kind.answersOnce ? 0 : (fault.delivered ?? 0)).fill('a'),
    executed: (fault.verdict === 'refused' ? 0 : 1) + (again ? 1 : 0),
    good: again ? 1 : 0,
    settled: again ? 2 : 1,
    pending: [0, 0],
  })
}

function each(fault: Fault, work: (fault: Fault, kind: Kind, idempotent: boolean) => Promise<void>): Promise<unknown> {
  const kinds = [...KINDS, GET].filter((kind) => kind.answersOnce || fault.onlySingle !== true)
  return Promise.all(kinds.flatMap((kind) => [false, true].map((idempotent) => work(fault, kind, idempotent))))
}

describe('a server that', () => {
  it.each(FAULTS)('$name: each attempt is settled once, and nothing is executed that must not be', async (fault) => {
    const before = timers()
    await each(fault, alone)
    await until(() => timers() <= before)
  })

  it.each(FAULTS.filter(({ timeoutMs }) => timeoutMs === undefined))(
    '$name, beside a good one: what may go there does, the rest fails',
    async (fault) => {
      await each(fault, besideGood)
    },
  )

  it('answers well, also byte by byte, is asked once', async () => {
    const trickle: GrpcScript = async (call) => {
      await call.messages()
      await call.trickle(stock('a'), 1)
      call.finish()
    }
    for (const script of [answerWell, trickle]) {
      await Promise.all(
        [...KINDS, GET].map(async (kind) => {
          const server = await serveGrpc(script)
          const rig = grpcRigOver([server.port])
          for (const run of [kind.run(rig.client), kind.begin(rig.client).ended]) {
            const { error, answers } = await run
            expect([kind.name, error, answers.map(({ sku }) => sku)]).toEqual([kind.name, undefined, ['a']])
          }
          expect([server.streams, rig.attempts.outcomes.length, rig.attempts.admitted]).toEqual([2, 2, 2])
          expect(rig.calls.outcomes.map(({ verdict }) => verdict)).toEqual(['success', 'success'])
          expect([rig.endpoint.pending, server.connections]).toEqual([0, 1])
        }),
      )
    }
  })

  it('answers that there is no such thing has answered: no failure of the mesh', async () => {
    const server = await serveGrpc(async (call) => {
      await call.message()
      call.finish(status.NOT_FOUND, 'no such item', { 'x-why': 'gone' })
    })
    for (const kind of [...KINDS, GET]) {
      const rig = grpcRigOver([server.port])
      const { error } = await kind.run(rig.client, { idempotent: true })
      expect([error?.code, error?.details, error?.metadata.get('x-why')]).toEqual([5, 'no such item', ['gone']])
      expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).toEqual(['success'])
    }
  })
})
