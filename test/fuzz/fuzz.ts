/**
 * Sends mutated exchanges to the listeners of a separate process, and reports what they did to it.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { connect as connectPlain, type Socket } from 'node:net'
import { connect as connectSecure, createSecureContext, type SecureContext } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { Registry } from '../../src/registry/index.ts'
import * as mux from '../mux/raw-mux.ts'
import { frames } from '../rigs/raw-http2.ts'
import { type Credentials, join } from '../rigs/registry-session.ts'
import {
  EXCHANGES,
  isHttp2,
  isMux,
  isTcp,
  LISTENERS,
  type ListenerName,
  speaksTls,
  type TargetReport,
} from './listeners.ts'
import { NOTHING_MEASURED } from './loop-meter.ts'
import { Chance, mutate } from './mutate.ts'

const TARGET = fileURLToPath(new URL('target.ts', import.meta.url))
const PREFACE = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frames.settings(),
  frames.settingsAck(),
])
const MUX_HELLO = Buffer.concat([mux.PREFACE, mux.settings(0)])
/** Connections at the same time. */
const AT_ONCE = 32
const MOST_PER_CONNECTION = 20
const CONNECT_MS = 5_000
/** Much gets no answer, so no exchange waits longer for one. */
const ANSWER_MS = 20
/** What a TLS socket is on. */
const RAW = new WeakMap<Socket, Socket>()

export interface FuzzResult extends TargetReport {
  readonly listener: ListenerName
  readonly seed: number
  readonly exchanges: number
  readonly connections: number
  readonly seconds: number
  /** Live bytes before the first exchange. */
  readonly heapBeforeMb: number
  /** The process ended, and how. */
  readonly exit: string | undefined
}

interface Started {
  readonly ports: Readonly<Record<ListenerName, number>>
  readonly registry: Registry
  readonly token: string
}

/** One process under test. */
export class Fuzzer {
  readonly #child: ChildProcess
  readonly #started: Started
  /**
   * Without a certificate, and with one: made once, because one for each connection costs more than
   * its handshake.
   */
  readonly #contexts: readonly [SecureContext, SecureContext]
  /** By itself or by a signal; one listener for all exchanges. */
  readonly #exited: Promise<unknown>
  #exit: string | undefined

  private constructor(child: ChildProcess, exited: Promise<unknown>, started: Started, credentials: Credentials) {
    this.#child = child
    this.#exited = exited
    this.#started = started
    const ca = [...started.registry.roots]
    this.#contexts = [createSecureContext({ ca }), createSecureContext({ ca, ...credentials })]
    child.on('exit', (code, signal) => {
      this.#exit = `exit ${code ?? signal}`
    })
  }

  static async start(): Promise<Fuzzer> {
    const child = fork(TARGET, {
      execArgv: ['--expose-gc', ...process.execArgv],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    const exited = new Promise((resolve) => child.once('exit', resolve))
    const [started] = (await Promise.race([
      once(child, 'message'),
      exited.then(() => Promise.reject(new Error('the process under test did not start'))),
    ])) as [Started]
    return new Fuzzer(child, exited, started, await join(started.registry, 'checkout', started.token))
  }

  /** `count` exchanges, or until the process ends. */
  async run(listener: ListenerName, count: number, seed: number): Promise<FuzzResult> {
    // What starting costs is not the listener's.
    const { heapMb: heapBeforeMb } = await this.#report()
    const tally = { exchanges: 0, connections: 0 }
    const beganAt = performance.now()
    const worker = async (number: number): Promise<void> => {
      const chance = new Chance(seed + number * 7_919)
      while (tally.exchanges < count && this.#exit === undefined) await this.#connection(listener, chance, tally, count)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => worker(number)))
    const report = await this.#report()
    const seconds = Math.round((performance.now() - beganAt) / 1_000)
    return { listener, seed, ...tally, seconds, heapBeforeMb, ...report, exit: this.#exit }
  }

  close(): void {
    this.#child.kill('SIGKILL')
  }

  async #connection(
    listener: ListenerName,
    chance: Chance,
    tally: { exchanges: number; connections: number },
    count: number,
  ): Promise<void> {
    const socket = await this.#open(listener, chance)
    tally.connections += 1
    if (socket === undefined) return
    socket.on('error', () => {})
    socket.resume()
    const framed = isHttp2(listener) || isMux(listener)
    if (framed) socket.write(isMux(listener) ? MUX_HELLO : PREFACE)
    const exchanges = EXCHANGES[listener]
    for (let i = 0; i < MOST_PER_CONNECTION && tally.exchanges < count && socket.writable; i++) {
      tally.exchanges += 1
      const exchange = chance.of(exchanges)
      await send(socket, mutate(framed ? onStream(exchange, 2 * i + 1) : exchange, exchanges, chance), chance)
      // The others are sent on top of what is still being read, or to a server that has just had
      // enough.
      if (chance.next(2) === 0) await answered(socket)
    }
    end(socket, chance)
  }

  /** `undefined`: refused, or cut while shaking hands. */
  #open(listener: ListenerName, chance: Chance): Promise<Socket | undefined> {
    const { ports } = this.#started
    const to = { port: ports[listener], host: '127.0.0.1' }
    const secure = speaksTls(listener) || (listener.endsWith('permissive') && chance.next(2) === 0)
    const secureContext = this.#contexts[chance.next(4) === 0 ? 0 : 1]
    const raw = connectPlain(to)
    const socket = secure
      ? connectSecure({
          socket: raw,
          secureContext,
          checkServerIdentity: () => undefined,
          ...(isTcp(listener) && chance.next(4) === 0 ? {} : { ALPNProtocols: [protocolOf(listener)] }),
        })
      : raw
    raw.on('error', () => {})
    RAW.set(socket, raw)
    return new Promise((resolve) => {
      const timer = setTimeout(() => socket.destroy(), CONNECT_MS)
      const settle = (result: Socket | undefined) => (): void => {
        clearTimeout(timer)
        resolve(result)
      }
      socket.once(secure ? 'secureConnect' : 'connect', settle(socket))
      socket.on('error', settle(undefined))
      socket.once('close', settle(undefined))
    })
  }

  async #report(): Promise<TargetReport> {
    if (this.#exit !== undefined || !this.#child.connected) return { uncaught: [], ...NOTHING_MEASURED }
    this.#child.send('report')
    const [report] = (await Promise.race([
      once(this.#child, 'message'),
      this.#exited.then(() => [{ uncaught: [], ...NOTHING_MEASURED }]),
    ])) as [TargetReport]
    return report
  }
}

function protocolOf(listener: ListenerName): string {
  if (isTcp(listener)) return 'inmesh-tcp/1'
  if (isMux(listener)) return 'inmesh/1'
  return isHttp2(listener) ? 'h2' : 'http/1.1'
}

/** Every listener in turn, each with a seed made of `seed`. */
export async function fuzzAll(
  count: number,
  seed: number,
  told: (result: FuzzResult) => void,
  only: readonly ListenerName[] = LISTENERS,
): Promise<void> {
  for (const listener of only) {
    const fuzzer = await Fuzzer.start()
    try {
      told(await fuzzer.run(listener, count, seed + LISTENERS.indexOf(listener) * 1_000_003))
    } finally {
      fuzzer.close()
    }
  }
}

/** Whole, or in pieces with a turn of the loop between them. */
async function send(socket: Socket, bytes: Buffer, chance: Chance): Promise<void> {
  const at = chance.next(3) === 0 ? chance.next(bytes.length + 1) : bytes.length
  for (const piece of [bytes.subarray(0, at), bytes.subarray(at)]) {
    if (piece.length > 0 && socket.writable) socket.write(piece)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Until the server has said something or closed, or not for {@link ANSWER_MS}. */
function answered(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer)
      socket.off('data', done).off('close', done)
      resolve()
    }
    const timer = setTimeout(done, ANSWER_MS)
    socket.on('data', done).on('close', done)
  })
}

function end(socket: Socket, chance: Chance): void {
  const how = chance.next(4)
  // TLS cannot be reset, what is below it can.
  if (how === 0) RAW.get(socket)?.resetAndDestroy()
  else if (how === 1) socket.destroy()
  else socket.end()
  // What the other side leaves open is its own business; the next connection does not wait for it.
  setTimeout(() => {
    socket.destroy()
    RAW.get(socket)?.destroy()
  }, chance.next(200)).unref()
}

/** The same frames on another stream. */
function onStream(exchange: Buffer, id: number): Buffer {
  const bytes = Buffer.from(exchange)
  for (let at = 0; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3)) {
    if (bytes.readUInt32BE(at + 5) !== 0) bytes.writeUInt32BE(id, at + 5)
  }
  return bytes
}
