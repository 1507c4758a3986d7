/**
 * Feeds mutated frames to both ends of `inmesh/1` within this process, without sockets. Inputs that
 * reach new code join those that are mutated.
 */
import { MuxSession } from '../../src/mux/session.ts'
import { MUX_DEFAULTS } from '../../src/mux/settings.ts'
import type { MuxStream, StreamEvents } from '../../src/mux/stream.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import {
  ACK,
  data,
  END,
  frame,
  goAway,
  PREFACE,
  ping,
  request,
  reset,
  response,
  settings,
  TYPE,
  trailers,
  window,
} from '../mux/raw-mux.ts'
import { tick, WireSocket } from '../mux/wire.ts'
import { Coverage } from './coverage.ts'
import { Chance, mutate } from './mutate.ts'

export type EngineSide = 'server' | 'client'

export interface EngineResult {
  readonly listener: `mux-engine-${EngineSide}`
  readonly seed: number
  readonly inputs: number
  /** Inputs that reached new code. */
  readonly learned: number
  readonly seconds: number
  /** Errors that are not the peer's. */
  readonly uncaught: readonly string[]
  /** The longest time for one input, in ms of CPU. */
  readonly callbackMs: number
  /** The most that one session had written and kept. */
  readonly mostBytes: number
  readonly heapBeforeMb: number
  readonly heapMb: number
}

const MOST_CORPUS = 4_000
/** Inputs between two looks at the coverage, and how many are run with it. */
const BATCH = 100
const LEARNED_INPUTS = 5_000
const MOST_FRAMES = 12
/** An input that takes longer is reported. */
const SLOW_MS = 100

const HOST = ['host', 'inventory'] as const
const COMMON: readonly Buffer[] = [
  data(1, 'hello'),
  data(2, Buffer.alloc(3_000, 1), END),
  data(3),
  trailers(1, [['x-end', '1']]),
  reset(1),
  reset(2, 2, 'not executed'),
  window(0, 70_000),
  window(1, 1),
  ping(),
  ping('\0\0\0\0\0\0\0\x01', ACK),
  goAway(2, 0, 'drain'),
  settings(),
]
const REQUESTS: readonly Buffer[] = [
  request(1, {
    path: '/items/42',
    headers: [HOST, ['content-type', 'a/b'], [16, `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`]],
  }),
  request(2, { method: 'POST', headers: [HOST, ['content-length', '5']], body: 'hello' }),
  request(3, { method: 3, headers: [HOST], flags: 0 }),
  request(4, { method: 'POST', headers: [HOST, ['content-length', '8']], body: 'hell', flags: 0 }),
  frame(
    TYPE.request,
    END | 14,
    5,
    Buffer.concat([Buffer.from([1, 0, 1, 0x2f, 0, 0, 3, 232]), Buffer.alloc(25, 7), Buffer.from([2, 0, 0])]),
  ),
]
const RESPONSES: readonly Buffer[] = [
  response(1, 200, {
    headers: [
      ['content-type', 'a/b'],
      ['content-length', '2'],
    ],
    body: 'ok',
  }),
  response(2, 103, { headers: [['link', 'a']], flags: 0 }),
  response(2, 200, { headers: [['x-a', '1']], flags: 0 }),
  response(3, 204),
  response(4, 304, { headers: [['content-length', '9']] }),
  frame(TYPE.response, END | 16, 5, Buffer.concat([Buffer.from([1, 148, 2, 0x68, 0x69, 0, 0])])),
]

/** A session, a user that acts at random, and what the session did. */
class Subject implements StreamEvents {
  readonly socket = new WireSocket()
  readonly session: MuxSession
  readonly streams: MuxStream[] = []
  failure: Error | undefined
  mostBytes = 0
  readonly #chance: Chance

  constructor(side: EngineSide, chance: Chance, clock: FakeClock) {
    this.#chance = chance
    this.session = new MuxSession(this.socket.asSocket(), side, { ...MUX_DEFAULTS, maxStreams: 20 }, clock, {
      requestArrived: (stream) => {
        stream.events = this
        this.#take(stream)
        if (chance.next(3) === 0) this.#act(stream)
      },
      settled: () => {},
      goingAway: () => {},
      roomChanged: () => {},
      broken: () => {},
      closed: (cause) => {
        this.failure = cause
      },
    })
  }

  responseArrived(stream: MuxStream): void {
    this.#sometimes(stream)
  }

  dataArrived(stream: MuxStream, chunk: Buffer): void {
    if (this.#chance.next(2) === 0) stream.read(chunk.length)
    this.#sometimes(stream)
  }

  trailersArrived(stream: MuxStream): void {
    this.#sometimes(stream)
  }

  wasReset(): void {}

  drained(stream: MuxStream): void {
    this.#sometimes(stream)
  }

  ask(): void {
    const { session } = this
    if (session.room === 0) return
    const method = this.#chance.of(['GET', 'HEAD', 'POST'])
    const body = method === 'POST' ? Buffer.alloc(this.#chance.next(100_000)) : undefined
    this.#take(session.request(method, '/', ['host', 'inventory'], body, this.#chance.next(2) === 0, this))
  }

  actOnAny(): void {
    if (this.streams.length > 0) this.#act(this.#chance.of(this.streams))
  }

  /** Bytes that it holds for the network. */
  measure(): void {
    this.mostBytes = Math.max(this.mostBytes, this.socket.waiting + this.socket.writableLength)
  }

  #take(stream: MuxStream): void {
    this.streams.push(stream)
    if (this.streams.length > 50) this.streams.shift()
  }

  #sometimes(stream: MuxStream): void {
    if (this.#chance.next(8) === 0) this.#act(stream)
  }

  #act(stream: MuxStream): void {
    if (stream.closed || stream.ending) return
    if (stream.serves && !stream.answered) {
      const status = this.#chance.of([103, 200, 200, 204, 500])
      const body = status === 200 ? Buffer.alloc(this.#chance.next(60_000)) : undefined
      stream.respond(status, '', ['x-a', '1'], body, this.#chance.next(2) === 0)
      return
    }
    switch (this.#chance.next(4)) {
      case 0:
        stream.write(Buffer.alloc(this.#chance.next(100_000)))
        break
      case 1:
        stream.end(this.#chance.next(2) === 0 ? ['x-end', '1'] : undefined)
        break
      case 2:
        stream.reset(1, 'no longer wanted')
        break
      default:
        stream.read(this.#chance.next(10_000))
    }
  }
}

/** Some frames of the corpus, each perhaps mutated; most keep a true length. */
function inputOf(corpus: readonly (readonly Buffer[])[], frames: readonly Buffer[], chance: Chance): Buffer[] {
  const input: Buffer[] = [...chance.of(corpus)]
  for (let left = chance.next(MOST_FRAMES); left > 0; left--) {
    input.splice(chance.next(input.length + 1), 0, chance.of(frames))
  }
  return input.map((one) => {
    if (chance.next(3) > 0 || one.length < 9) return one
    const bytes = mutate(one, frames, chance)
    // A true length keeps the next frame in place.
    if (bytes.length >= 9 && chance.next(3) > 0) bytes.writeUIntBE(Math.min(bytes.length - 9, 2 ** 24 - 1), 0, 3)
    return bytes
  })
}

/** One input, in pieces; returns what is wrong with the engine. */
async function run(
  side: EngineSide,
  input: readonly Buffer[],
  seed: number,
  most: { bytes: number },
): Promise<string | undefined> {
  const chance = new Chance(seed)
  const clock = new FakeClock()
  const subject = new Subject(side, chance, clock)
  const hello = chance.next(50) > 0 ? [...(side === 'server' ? [PREFACE] : []), settings(20)] : []
  let bytes = Buffer.concat([...hello, ...input])
  // Answers belong to calls.
  if (side === 'client') {
    subject.session.receive(Buffer.concat(hello))
    bytes = bytes.subarray(Buffer.concat(hello).length)
    for (let i = 0; i < 5; i++) subject.ask()
  }
  while (bytes.length > 0) {
    const length = Math.min(bytes.length, 1 + chance.next(chance.next(4) === 0 ? 20 : 4_000))
    subject.session.receive(Buffer.from(bytes.subarray(0, length)))
    bytes = bytes.subarray(length)
    if (chance.next(3) === 0) subject.actOnAny()
    if (side === 'client' && chance.next(8) === 0) subject.ask()
    if (chance.next(8) === 0) {
      clock.advance(chance.next(3_000))
      subject.session.tick(clock.now())
    }
    await tick()
    subject.measure()
    if (chance.next(2) === 0) while (subject.socket.takeBytes(1_000_000).length > 0);
  }
  while (subject.socket.takeBytes(1_000_000).length > 0);
  subject.session.destroy()
  for (let turns = 0; turns < 4; turns++) await tick()
  clock.advance(60_000)
  most.bytes = Math.max(most.bytes, subject.mostBytes)
  const { failure, session } = subject
  if (failure !== undefined && !failure.message.startsWith('the peer ')) return failure.stack ?? failure.message
  if (session.open > 0 || clock.timers > 0) return `${session.open} streams and ${clock.timers} timers are left`
  return undefined
}

/** The ms of CPU that an input takes, and what is wrong. */
async function timed(
  side: EngineSide,
  input: readonly Buffer[],
  seed: number,
  most: { bytes: number },
): Promise<[ms: number, problem: string | undefined]> {
  const before = process.threadCpuUsage()
  const problem = await run(side, input, seed, most)
  const { user, system } = process.threadCpuUsage(before)
  return [(user + system) / 1_000, problem]
}

/** `count` inputs. The first are watched for new code. */
export async function fuzzEngine(side: EngineSide, count: number, seed: number): Promise<EngineResult> {
  const chance = new Chance(seed)
  const frames = [...COMMON, ...(side === 'server' ? REQUESTS : RESPONSES)]
  const corpus: Buffer[][] = [[], ...frames.map((one) => [one])]
  const uncaught: string[] = []
  const most = { bytes: 0 }
  let [learned, callbackMs] = [0, 0]
  const note = (problem: string | undefined): void => {
    if (problem !== undefined && uncaught.length < 20) uncaught.push(problem)
  }
  const onUncaught = (error: unknown): void => note(error instanceof Error ? error.stack : String(error))
  process.on('uncaughtException', onUncaught)
  const began = performance.now()
  const heapBeforeMb = heap()
  const coverage = await Coverage.start('/src/mux/')
  for (let i = 0; i < count; i += BATCH) {
    const watched = coverage.running
    const batch: [Buffer[], number][] = []
    for (let n = i; n < Math.min(count, i + BATCH); n++) {
      const input = inputOf(corpus, frames, chance)
      const runSeed = chance.next(2 ** 31)
      let [ms, problem] = await timed(side, input, runSeed, most)
      // A virtual machine that was stopped counts the pause as work; the same input does not again.
      if (!watched && ms > SLOW_MS) ms = Math.min(ms, (await timed(side, input, runSeed, most))[0])
      if (!watched && ms > SLOW_MS) problem ??= `${ms} ms for seed ${runSeed}: ${Buffer.concat(input).toString('hex')}`
      note(problem)
      callbackMs = Math.max(callbackMs, ms)
      if (watched) batch.push([input, runSeed])
    }
    if (watched && (await coverage.grew())) {
      for (const [input, runSeed] of batch) {
        await run(side, input, runSeed, most)
        if (!(await coverage.differs()) || corpus.length >= MOST_CORPUS) continue
        corpus.push(input)
        learned += 1
      }
    }
    if (watched && i >= LEARNED_INPUTS) {
      await coverage.stop()
      callbackMs = 0
    }
  }
  await coverage.stop()
  process.off('uncaughtException', onUncaught)
  const seconds = Math.round((performance.now() - began) / 1_000)
  const name = `mux-engine-${side}` as const
  return {
    listener: name,
    seed,
    inputs: count,
    learned,
    seconds,
    uncaught,
    callbackMs,
    mostBytes: most.bytes,
    heapBeforeMb,
    heapMb: heap(),
  }
}

function heap(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 2 ** 20
}
