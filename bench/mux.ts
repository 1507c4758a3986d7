/**
 * The cost of one call in the engine of `inmesh/1`, without kernel and TLS. `node bench/mux.ts
 * [--json]` prints µs of CPU a call, the middle and the best of the rounds.
 */
import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { parseArgs } from 'node:util'
import { systemClock } from '../src/core/clock.ts'
import { MuxSession, type SessionEvents } from '../src/mux/session.ts'
import { MUX_DEFAULTS } from '../src/mux/settings.ts'
import type { StreamEvents } from '../src/mux/stream.ts'

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '15' },
    calls: { type: 'string', default: '16000' },
    json: { type: 'boolean', default: false },
  },
})
const CALLS = Number(values.calls)

const ITEM = (_: unknown, id: number) => ({ id: 1_000 + id, name: `item number ${id % 10}`, price: 100 + id })
const BODY = Buffer.from(JSON.stringify({ items: Array.from({ length: 20 }, ITEM) }))
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const REQUEST = ['host', 'inventory', 'accept', 'application/json', 'inmesh-timeout-ms', '9999', 'traceparent', TRACE]
const RESPONSE = [
  'content-type',
  'application/json',
  'content-length',
  String(BODY.length),
  'date',
  'Sun, 29 Nov 2026 12:00:00 GMT',
  'etag',
  '"5f3-abcdef"',
  'cache-control',
  'max-age=60',
  'x-request-id',
  '0af7651916cd43dd',
]

/** Keeps what is written until the other end takes it; as TLS does, it calls back later. */
class Pipe extends EventEmitter {
  destroyed = false
  writable = true
  readonly #pieces: { bytes: Buffer; done: () => void }[] = []

  write(bytes: Buffer, done: () => void): boolean {
    this.#pieces.push({ bytes, done })
    return true
  }

  carryTo(session: MuxSession): void {
    for (const { bytes, done } of this.#pieces.splice(0)) {
      session.receive(bytes)
      done()
    }
  }

  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
  isPaused(): boolean {
    return false
  }
}

const NOTHING = (): void => {}
const QUIET: SessionEvents = {
  requestArrived: NOTHING,
  settled: NOTHING,
  goingAway: NOTHING,
  roomChanged: NOTHING,
  broken: (_code, reason) => {
    throw new Error(reason)
  },
  closed: NOTHING,
}

const STREAM: StreamEvents = {
  responseArrived: NOTHING,
  dataArrived: (stream, chunk) => stream.read(chunk.length),
  trailersArrived: NOTHING,
  wasReset: (_stream, { reason }) => {
    throw new Error(reason)
  },
  drained: NOTHING,
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Both ends, joined; runs calls and returns the µs of each end a call. */
async function pair(): Promise<(calls: number, together: number) => Promise<[client: number, server: number]>> {
  const [up, down] = [new Pipe(), new Pipe()]
  const client = new MuxSession(up as unknown as Socket, 'client', MUX_DEFAULTS, systemClock, QUIET)
  const server = new MuxSession(down as unknown as Socket, 'server', MUX_DEFAULTS, systemClock, {
    ...QUIET,
    requestArrived(stream) {
      stream.events = STREAM
      stream.respond(200, '', RESPONSE, BODY, true)
    },
  })
  const used = [0, 0]
  const spend = async (side: number, work: () => void): Promise<void> => {
    const before = process.threadCpuUsage()
    work()
    await turn()
    const { user, system } = process.threadCpuUsage(before)
    used[side]! += user + system
  }
  await turn()
  up.carryTo(server)
  down.carryTo(client)
  await turn()
  return async (calls, together) => {
    used.fill(0)
    for (let n = 0; n < calls; n += together) {
      await spend(0, () => {
        for (let i = 0; i < together; i++) client.request('GET', '/items/42', REQUEST, undefined, true, STREAM)
      })
      await spend(1, () => up.carryTo(server))
      await spend(0, () => down.carryTo(client))
      if (client.open > 0) throw new Error('a call was not answered')
    }
    return [used[0]! / calls, used[1]! / calls]
  }
}

const call = await pair()
const samples: Record<string, number[]> = {}
function add(name: string, sample: number): void {
  const list = samples[name] ?? []
  list.push(sample)
  samples[name] = list
}

for (let round = -3; round < Number(values.rounds); round++) {
  for (const together of [1, 16, 64]) {
    const [client, server] = await call(CALLS, together)
    if (round < 0) continue
    add(`client ${together}`, client)
    add(`server ${together}`, server)
  }
}
const rows = Object.entries(samples).map(([name, list]) => {
  list.sort((a, b) => a - b)
  return { name, middle: list[list.length >> 1]!, best: list[0]! }
})
if (values.json) console.log(JSON.stringify(rows))
else
  for (const { name, middle, best } of rows)
    console.log(`${middle.toFixed(2)} µs (best ${best.toFixed(2)})  ${name} at once`)
