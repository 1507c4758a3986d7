/**
 * The demo: a registry and three tiers of services in real processes over mTLS, 200 requests per
 * second, and a week's faults within a minute. Ends with a verdict per phase; exit code 1 if any
 * request failed.
 *
 *     npm run demo -- [--seconds N] [--json] [--grpc] [--registries N] [--ui]
 *
 * With `--grpc` the services speak gRPC with each other, and one stream is kept open from the first
 * phase to the last. With `--registries 3` three registries share a store in etcd. With
 * `--ui` the mesh goes on under load after the last phase, for those who look at its page.
 */
import { parseArgs } from 'node:util'
import { type ServiceError, status } from '@grpc/grpc-js'
import { joinMesh, type Mesh } from 'inmesh'
import { PricesClient } from '../grpc/shop.ts'
import { hasEtcd, NO_ETCD } from './etcd.ts'
import { Load, newTally, percentile, type Tally } from './load.ts'
import { INVENTORIES, phasesOf } from './phases.ts'
import { JOIN_TIMEOUT, Processes } from './processes.ts'
import { type Row, Screen } from './screen.ts'
import { report, type Stream } from './services/parent.ts'

const PER_SECOND = 200
/** Requests before the clock starts: connections are made, code is compiled. */
const WARM_UP = 100
const MOST_REGISTRIES = 5
const SERVICES: readonly (readonly [string, string])[] = [
  ['prices', 'prices-1'],
  ['prices', 'prices-2'],
  ...INVENTORIES.map((name) => ['inventory', name] as const),
  ['storefront', 'storefront'],
]

interface Finished {
  readonly name: string
  readonly tally: Tally
  readonly retried: number
  /** Of the phase; only with `--grpc`. */
  readonly stream: Stream | undefined
  readonly broken: string | undefined
}

interface Seen {
  readonly retries: number
  readonly circuits: string
  readonly stream: Stream | undefined
}

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    seconds: { type: 'string', default: '6' },
    grpc: { type: 'boolean', default: false },
    registries: { type: 'string', default: '1' },
    ui: { type: 'boolean', default: false },
  },
})
const seconds = Number(flags.seconds)
if (!(seconds >= 1 && seconds <= 600)) {
  console.error(`--seconds: expected a number from 1 to 600, got ${flags.seconds}`)
  process.exit(2)
}
const registries = Number(flags.registries)
if (!Number.isInteger(registries) || registries < 1 || registries > MOST_REGISTRIES) {
  console.error(`--registries: expected a whole number from 1 to ${MOST_REGISTRIES}, got ${flags.registries}`)
  process.exit(2)
}
if (registries > 1 && !hasEtcd()) {
  console.error(`--registries ${registries}: ${NO_ETCD}`)
  process.exit(2)
}
const phases = phasesOf(registries)

/**
 * Counters of processes that were killed or restarted begin anew; what they had counted is kept
 * here.
 */
const counted = new Map<string, { before: number; last: number }>()

const processes = new Processes(flags.grpc)
/** Ends a mesh that was left open. */
let leave: (() => void) | undefined
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (leave !== undefined) return leave()
    processes.killAll()
    process.exit(130)
  })
}
const screen = new Screen(flags.json, flags.grpc)

try {
  const finished = await runDemo()
  const failed = finished.some(({ tally, broken }) => tally.failed > 0 || broken !== undefined)
  const asked = finished.reduce((sum, { tally }) => sum + tally.requests, 0)
  const opened = finished.reduce((sum, { stream }) => sum + (stream?.begun ?? 0), 0)
  if (flags.json) console.log(JSON.stringify(summary(finished)))
  else if (!failed)
    console.log(
      `\nNo request failed: ${asked} requests, ${phases.length} phases${flags.grpc ? `; the stream was opened again ${opened} times` : ''}.`,
    )
  process.exitCode = failed ? 1 : 0
} catch (error) {
  console.error(error)
  console.error(processes.log.slice(-40).join('\n'))
  process.exitCode = 1
} finally {
  processes.killAll()
}

async function runDemo(): Promise<Finished[]> {
  screen.say(`starting ${registries === 1 ? 'a registry' : `${registries} registries`} and six services`)
  await processes.startRegistries(registries)
  const page = await processes.page()
  if (!flags.json || flags.ui) console.log(`the page of the mesh: ${page.url}\n  token: ${page.token}`)
  await processes.inmesh('apply', '-f', new URL('./policies.yaml', import.meta.url).pathname)
  for (const service of new Set(SERVICES.map(([service]) => service))) await processes.joinToken(service)
  await Promise.all(SERVICES.map(([service, name]) => processes.startService(service, name)))
  const visitor = await joinMesh({
    service: 'visitor',
    registry: processes.registryUrl.split(','),
    joinToken: await processes.joinToken('visitor'),
    joinTimeout: JOIN_TIMEOUT,
    stateDir: 'memory',
    handleSignals: false,
  })
  try {
    return await runPhases(visitor)
  } finally {
    await visitor.close()
  }
}

async function runPhases(visitor: Mesh): Promise<Finished[]> {
  const storefront = visitor.http('storefront')
  for (let i = 0; i < WARM_UP; i++) await storefront.get('/sku-warm-up')
  const load = new Load(storefront, PER_SECOND)
  const finished: Finished[] = []
  load.start()
  for (const phase of phases) {
    const tally = newTally()
    const before = await watch(visitor)
    load.countFor(tally)
    let latest = before
    const row = (done: boolean, broken?: string): Row => ({
      name: phase.name,
      tally,
      retried: latest.retries - before.retries,
      circuits: latest.circuits,
      stream: difference(latest.stream, before.stream),
      done,
      broken,
    })
    const earlier = finished.map((past) => ({ ...past, circuits: '', done: true }))
    let isWatching = false
    const drawing = setInterval(() => {
      screen.draw([...earlier, row(false)])
      if (isWatching) return
      isWatching = true
      void watch(visitor).then((seen) => {
        latest = seen
        isWatching = false
      })
    }, 250)
    let broken: string | undefined
    try {
      await phase.run({
        processes,
        seconds,
        askPrices: () => askPrices(visitor),
        victim: async () => (await processes.report('storefront'))?.stream?.from ?? INVENTORIES[0],
        say: (line) => screen.say(line),
      })
    } catch (error) {
      broken = error instanceof Error ? error.message : String(error)
      screen.say(`${phase.name}: ${broken}`)
    }
    clearInterval(drawing)
    load.countFor(newTally())
    await load.settled()
    latest = await watch(visitor)
    for (const [failure, count] of tally.failures) screen.say(`${phase.name}: ${count} × ${failure}`)
    const stream = difference(latest.stream, before.stream)
    if (flags.grpc) broken ??= brokenStream(stream)
    finished.push({ name: phase.name, tally, retried: latest.retries - before.retries, stream, broken })
    screen.draw([...earlier, row(true, broken)])
  }
  if (flags.ui) {
    screen.finish(finished.map((past) => ({ ...past, circuits: '', done: true })))
    console.log('The mesh goes on under load; Ctrl+C ends it.')
    await new Promise<void>((resolve) => {
      leave = resolve
    })
    leave = undefined
  }
  await load.stop()
  if (!flags.ui) screen.finish(finished.map((past) => ({ ...past, circuits: '', done: true })))
  return finished
}

function retriesOf(name: string, now: number | undefined): number {
  const known = counted.get(name) ?? { before: 0, last: 0 }
  counted.set(name, known)
  if (now !== undefined) {
    if (now < known.last) known.before += known.last
    known.last = now
  }
  return known.before + known.last
}

/** Whether prices answers the visitor itself. What is no plain yes or no is thrown. */
async function askPrices(visitor: Mesh): Promise<boolean> {
  if (!flags.grpc) {
    const { ok, status } = await visitor.http('prices').get('/prices/sku-1')
    if (!ok && status !== 403) throw new Error(`prices answered a visitor with ${status}`)
    return ok
  }
  try {
    await visitor.grpc(PricesClient, 'prices').promises.quote({ sku: 'sku-1' })
    return true
  } catch (error) {
    if ((error as ServiceError).code !== status.PERMISSION_DENIED) throw error
    return false
  }
}

function difference(now: Stream | undefined, before: Stream | undefined): Stream | undefined {
  if (now === undefined || before === undefined) return undefined
  return {
    begun: now.begun - before.begun,
    messages: now.messages - before.messages,
    failed: now.failed - before.failed,
  }
}

function brokenStream(stream: Stream | undefined): string | undefined {
  if (stream === undefined) return 'the storefront did not report'
  if (stream.failed > 0) return `${stream.failed} × the stream was opened again and said nothing`
  return stream.messages === 0 ? 'the stream said nothing' : undefined
}

/** Retries made by all who call, the circuits on the way, and the stream that is kept open. */
async function watch(visitor: Mesh): Promise<Seen> {
  const callers = ['storefront', ...INVENTORIES]
  const reports = await Promise.all(callers.map((name) => processes.report(name)))
  const own = report(visitor)
  const circuits = [own, ...reports].flatMap((seen) => Object.entries(seen?.circuits ?? {}))
  const open = circuits.filter(([, state]) => state !== 'closed').map(([name, state]) => `${name} ${state}`)
  return {
    retries: callers.reduce(
      (sum, name, i) => sum + retriesOf(name, reports[i]?.retries),
      retriesOf('visitor', own.retries),
    ),
    circuits: open.length === 0 ? 'all closed' : [...new Set(open)].join(', '),
    stream: reports[0]?.stream,
  }
}

function summary(finished: readonly Finished[]): object {
  const all = finished.flatMap(({ tally }) => tally.latenciesMs)
  const total = (of: (phase: Finished) => number): number => finished.reduce((sum, phase) => sum + of(phase), 0)
  return {
    requests: total(({ tally }) => tally.requests),
    failed: total(({ tally }) => tally.failed),
    retried: total(({ retried }) => retried),
    p50Ms: percentile(all, 0.5),
    p99Ms: percentile(all, 0.99),
    mtls: true,
    protocol: flags.grpc ? 'grpc' : 'http',
    registries,
    phases: finished.map(({ name, tally, retried, stream, broken }) => ({
      name,
      requests: tally.requests,
      failed: tally.failed,
      retried,
      p50Ms: percentile(tally.latenciesMs, 0.5),
      p99Ms: percentile(tally.latenciesMs, 0.99),
      ...(stream === undefined
        ? {}
        : { stream: { messages: stream.messages, reopened: stream.begun, failed: stream.failed } }),
      ...(broken === undefined ? {} : { broken }),
    })),
  }
}
