/**
 * `npm run compare`: compares four ways of calling under the same load: plain text, mutual TLS, a
 * pair of sidecar proxies, and inmesh. It reports costs without faults and lost requests with
 * faults; Linux only.
 */
import { availableParallelism, loadavg } from 'node:os'
import { Processes } from '../../examples/demo/processes.ts'
import { FAULTS, type FaultResult, measureFault } from './faults.ts'
import { figuresOf } from './figures.ts'
import { Load } from './load/load.ts'
import { describeMachine } from './machine.ts'
import { type Plan, planOf, USAGE } from './options.ts'
import { type Comparison, writeReport } from './report.ts'
import { print } from './screen.ts'
import { measureSteady } from './steady.ts'
import { makeCertificates } from './ways/certificates.ts'
import { Direct } from './ways/direct.ts'
import { findEnvoy } from './ways/envoy.ts'
import { findHaproxy } from './ways/haproxy.ts'
import { Inmesh } from './ways/inmesh.ts'
import { Sidecar } from './ways/sidecar.ts'
import { WAYS } from './ways/way.ts'

const NO_PROXY = `There is no sidecar to compare with: neither envoy nor haproxy is on the PATH.
Debian, Ubuntu: apt-get install haproxy`

async function compare(plan: Plan, processes: Processes): Promise<Comparison> {
  const say = (line: string): void => console.log(`  · ${line}`)
  const proxy = findEnvoy() ?? findHaproxy()
  if (proxy === undefined) throw new Error(NO_PROXY)
  const certificates = makeCertificates(processes.directory)
  const ways = [
    new Direct(processes),
    new Direct(processes, certificates),
    new Sidecar(processes, proxy, certificates),
    new Inmesh(processes),
  ]
  const startedAt = new Date()
  const busyBefore = loadavg()[0]!
  say(`starting ${WAYS.length} ways: ${WAYS.join(', ')}; the sidecar is ${proxy.version}`)
  const load = new Load(processes)
  await load.start()
  for (const way of ways) await way.start()
  const { warmUpSeconds, postShare } = plan
  const steady = (rounds: number, seconds: number, perSecond: number) =>
    measureSteady(ways, load, { rounds, seconds, warmUpSeconds, perSecond, postShare }, say)
  const rounds = await steady(plan.rounds, plan.secondsPerRound, plan.rate)
  const slowRounds = await steady(plan.slowRounds, plan.slowSecondsPerRound, plan.slowRate)
  const faults = new Map<string, ReadonlyMap<string, FaultResult>>()
  const faultPlan = { seconds: plan.faultSeconds, perSecond: plan.faultRate, postShare: plan.postShare }
  for (const fault of FAULTS) {
    say(`${fault.name}: all ways at once, ${plan.faultRate} requests/s each`)
    faults.set(fault.key, await measureFault(fault, ways, load, faultPlan))
  }
  return {
    plan,
    proxy: { program: proxy.program, version: proxy.version },
    startedAt,
    machine: describeMachine(),
    busy: { before: busyBefore, after: loadavg()[0]!, cores: availableParallelism() },
    shapes: new Map(ways.map((way) => [way.name, { hops: way.hops, processes: way.running().length }])),
    rounds,
    faults,
    figures: figuresOf(rounds, slowRounds, faults),
  }
}

async function main(): Promise<number> {
  let plan: Plan
  try {
    plan = planOf(process.argv.slice(2))
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`)
    return 2
  }
  // For every process that joins the mesh.
  if (plan.transport !== undefined) process.env.INMESH_TRANSPORT = plan.transport
  const processes = new Processes(false)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      processes.killAll()
      process.exit(130)
    })
  }
  try {
    const comparison = await compare(plan, processes)
    const path = writeReport(comparison, plan.out)
    print(comparison)
    console.log(`\nReport and charts: ${path}`)
    if (plan.json) console.log(JSON.stringify(summary(comparison)))
    return 0
  } catch (error) {
    console.error((error as Error).message)
    if (processes.log.length > 0) console.error(processes.log.slice(-40).join('\n'))
    return 1
  } finally {
    processes.killAll()
  }
}

function summary({ figures, proxy, plan, faults }: Comparison): object {
  const { cpuAddedOverSidecar, cpuAddedOverSidecarSlow, p50AddedOverSidecar, ways } = figures
  const { failed, failedPosts, duplicated, repeatedGets } = figures
  return {
    cpuAddedOverSidecar: round(cpuAddedOverSidecar.median),
    cpuAddedOverSidecarSlow: round(cpuAddedOverSidecarSlow.median),
    p50AddedOverSidecar: round(p50AddedOverSidecar.median),
    failed,
    duplicated,
    failedPosts,
    repeatedGets,
    sidecar: proxy.version,
    rate: plan.rate,
    slowRate: plan.slowRate,
    ...(plan.transport !== undefined && { transport: plan.transport }),
    cpuPer1000: Object.fromEntries(WAYS.map((way) => [way, round(ways[way].cpu.median)])),
    cpuPer1000Slow: Object.fromEntries(WAYS.map((way) => [way, round(figures.cpuSlow[way].median)])),
    p50Ms: Object.fromEntries(WAYS.map((way) => [way, round(ways[way].p50Ms.median)])),
    memoryMb: Object.fromEntries(WAYS.map((way) => [way, Math.round(ways[way].memoryMb)])),
    failedByFault: Object.fromEntries(
      [...faults].map(([key, results]) => [
        key,
        Object.fromEntries(WAYS.map((way) => [way, results.get(way)!.load.gets.failed])),
      ]),
    ),
  }
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000
}

process.exitCode = await main()
