/**
 * A new version takes over in steps: a mirror, a sticky canary of 10, 50 and 100 percent, and
 * blue/green there and back. Weights are changed by the command line, under load. Exit code 1 if
 * any request failed or any scene did not hold.
 *
 *     npm run canary -- [--seconds N] [--json]
 */
import { subscribe } from 'node:diagnostics_channel'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { joinMesh, type Mesh } from 'inmesh'
import { JOIN_TIMEOUT, Processes, within } from '../demo/processes.ts'
import type { Counts, Order } from './instance.ts'
import { type Copies, SCENES, type Scene } from './scenes.ts'
import { type Row, Table } from './table.ts'
import { PER_SECOND, Tally, Traffic } from './traffic.ts'

const INSTANCES = [
  ['blue-1', 'v1'],
  ['blue-2', 'v1'],
  ['green-1', 'v2'],
  ['green-2', 'v2'],
] as const
const GREEN = ['green-1', 'green-2'] as const
const IN_FORCE_BOUND_MS = 10_000
const LATE_BOUND_MS = 10_000

/** Of inventory's document: each command makes the next. */
let version = 1

const { values: flags } = parseArgs({
  options: { json: { type: 'boolean', default: false }, seconds: { type: 'string', default: '1.5' } },
})
const seconds = Number(flags.seconds)
if (!(seconds >= 0.5 && seconds <= 600)) {
  console.error(`--seconds: expected a number from 0.5 to 600, got ${flags.seconds}`)
  process.exit(2)
}

const processes = new Processes()
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    processes.killAll()
    process.exit(130)
  })
}
const table = new Table(flags.json)

try {
  const gateway = await start()
  const rows = await play(gateway).finally(() => gateway.close())
  const broken = rows.filter(({ verdict }) => verdict !== 'ok')
  table.draw(rows, true)
  if (flags.json) console.log(JSON.stringify(summary(rows)))
  else if (broken.length === 0) console.log('\nNo request failed, and each user stayed where the weights had put them.')
  for (const { tally } of rows) for (const failure of tally.failures.slice(0, 3)) table.say(failure)
  process.exitCode = broken.length === 0 ? 0 : 1
} catch (error) {
  console.error(error)
  console.error(processes.log.slice(-40).join('\n'))
  process.exitCode = 1
} finally {
  processes.killAll()
}

/** A registry, four instances in two versions, and ourselves as the gateway that calls them. */
async function start(): Promise<Mesh> {
  table.say('starting a registry and four instances of inventory')
  await processes.startRegistries(1)
  await processes.inmesh('apply', '-f', new URL('./policies.yaml', import.meta.url).pathname)
  await processes.joinToken('inventory')
  const module = new URL('./instance.ts', import.meta.url)
  await Promise.all(
    INSTANCES.map(async ([name, version]) => {
      const env = { CANARY_VERSION: version, ...(await processes.joining('inventory', name)) }
      await processes.fork(name, module, env)
    }),
  )
  return joinMesh({
    service: 'gateway',
    registry: processes.registryUrl.split(','),
    joinToken: await processes.joinToken('gateway'),
    joinTimeout: JOIN_TIMEOUT,
    stateDir: 'memory',
    handleSignals: false,
  })
}

async function play(gateway: Mesh): Promise<Row[]> {
  const inventory = gateway.http('inventory')
  for (let i = 0; i < 50; i++) await inventory.get('/rest/warm-up')
  const traffic = new Traffic(inventory)
  const rows: Row[] = []
  let before: readonly number[] = []
  try {
    for (const scene of SCENES) {
      const row = await playScene(scene, gateway, traffic, rows, before)
      before = row.tally.usersOn('green')
      rows.push(row)
    }
  } finally {
    await traffic.stop()
  }
  const counts = await countsOfGreen()
  // Seen from the other side: green tells copies from calls.
  if (counts.copies === 0) throw new Error('green counted no copies')
  return rows
}

async function playScene(
  scene: Scene,
  gateway: Mesh,
  traffic: Traffic,
  earlier: readonly Row[],
  before: readonly number[],
): Promise<Row> {
  if (scene.command !== undefined) await operate(scene.command)
  if (scene.hang === true) order({ hang: true })
  const tally = new Tally()
  const base = copiesOf(gateway)
  const row = (verdict?: string): Row => ({ name: scene.name, tally, copies: since(base, copiesOf(gateway)), verdict })
  traffic.countFor(tally)
  const drawing = setInterval(() => table.draw([...earlier, row()]), 200)
  await wait(seconds * 1000)
  // What a stall has delayed belongs to the scene: its requests, and the copies that pile up.
  const isWhole = (): boolean =>
    tally.requests >= seconds * PER_SECOND && (scene.hang !== true || seconds < 1 || row().copies.dropped > 0)
  for (let waitedMs = 0; !isWhole() && waitedMs < LATE_BOUND_MS; waitedMs += 50) await wait(50)
  traffic.countFor(new Tally())
  await traffic.settled()
  clearInterval(drawing)
  const ended = row()
  if (scene.hang === true) order({ hang: false })
  const broken =
    tally.failures.length > 0
      ? `${tally.failures.length} requests failed`
      : scene.check({ tally, copies: ended.copies, before, seconds })
  table.say(`${scene.name}: ${broken ?? 'ok'}`)
  return { ...ended, verdict: broken ?? 'ok' }
}

/** Runs `inmesh`, and waits until the gateway has applied what it changed. */
async function operate(commandAfter: NonNullable<Scene['command']>): Promise<void> {
  const command = commandAfter(version - 1)
  const applied = Promise.withResolvers<void>()
  const listener = (message: unknown): void => {
    if ((message as { subject?: string }).subject === 'inventory') applied.resolve()
  }
  subscribe('inmesh:snapshot:applied', listener)
  table.say(`inmesh ${command.join(' ')}`)
  await processes.inmesh(...command)
  version += 1
  await within(IN_FORCE_BOUND_MS, command.join(' '), applied.promise)
}

function order(what: Order): void {
  for (const name of GREEN) processes.tell(name, { ...what })
}

async function countsOfGreen(): Promise<Counts> {
  const reports = await Promise.all(GREEN.map((name) => processes.report(name)))
  const counts = reports.map((report) => report as unknown as Counts | undefined)
  const sum = (of: keyof Counts): number => counts.reduce((total, each) => total + (each?.[of] ?? 0), 0)
  return { calls: sum('calls'), copies: sum('copies') }
}

/** From the Prometheus text, as a scraper would read it. */
function copiesOf(gateway: Mesh): Copies {
  const lines = gateway.metrics().split('\n')
  const sum = (metric: string): number =>
    lines
      .filter((line) => line.startsWith(`${metric}{`))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' '))), 0)
  return { answered: sum('inmesh_client_mirrors_total'), dropped: sum('inmesh_client_mirrors_dropped_total') }
}

function since(before: Copies, now: Copies): Copies {
  return { answered: now.answered - before.answered, dropped: now.dropped - before.dropped }
}

function summary(rows: readonly Row[]): object {
  const total = (of: (row: Row) => number): number => rows.reduce((sum, row) => sum + of(row), 0)
  return {
    requests: total(({ tally }) => tally.requests),
    failed: total(({ tally }) => tally.failures.length),
    mtls: true,
    scenes: rows.map(({ name, tally, copies, verdict }) => ({
      name,
      requests: tally.requests,
      failed: tally.failures.length,
      usersOnGreen: tally.usersOn('green').length,
      answers: tally.answers,
      copies,
      p99Ms: tally.p99Ms,
      verdict,
    })),
  }
}
