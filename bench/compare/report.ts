/** Writes the comparison as Markdown with charts: figures, method, machine and limits. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { FAULTS } from './faults.ts'
import type { FaultResults, Figures, Rounds } from './figures.ts'
import type { Machine } from './machine.ts'
import { DEFAULT_RATE, type Plan } from './options.ts'
import { busyWarning, ranged, verdicts } from './screen.ts'
import { percentile } from './statistics.ts'
import { barChart, type Chart } from './svg.ts'
import { ROLES, WAYS, type WayName } from './ways/way.ts'

export interface Comparison {
  readonly plan: Plan
  readonly proxy: { readonly program: 'haproxy' | 'envoy'; readonly version: string }
  readonly startedAt: Date
  readonly machine: Machine
  /** Load average of the machine, the comparison's own included in `after`. */
  readonly busy: { readonly before: number; readonly after: number; readonly cores: number }
  readonly shapes: ReadonlyMap<string, { readonly hops: number; readonly processes: number }>
  readonly rounds: Rounds
  readonly faults: FaultResults
  readonly figures: Figures
}

/** Writes `compare.md` and its charts; says where. */
export function writeReport(comparison: Comparison, directory: string): string {
  mkdirSync(directory, { recursive: true })
  for (const [name, chart] of Object.entries(charts(comparison))) {
    writeFileSync(join(directory, `compare-${name}.svg`), barChart(chart))
  }
  const path = join(directory, 'compare.md')
  writeFileSync(path, markdown(comparison))
  return path
}

export function charts({ figures, faults, plan }: Comparison): Record<'cpu' | 'latency' | 'memory' | 'faults', Chart> {
  const bars = (label: (way: WayName) => string, of: (way: WayName) => Chart['groups'][number]['bars'][number]) =>
    WAYS.map((way) => ({ label: label(way), bars: [of(way)] }))
  const parts = (values: Readonly<Record<(typeof ROLES)[number], number>>) =>
    ROLES.map((name) => ({ name, value: values[name] }))
  const added = { p50: 'p50Added', p90: 'p90Added', p99: 'p99Added' } as const
  return {
    cpu: {
      title: `CPU of all processes at ${plan.rate} requests/s`,
      unit: 'CPU seconds per 1,000 requests (median; whiskers: the middle half of the rounds)',
      groups: bars(
        (way) => way,
        (way) => ({
          label: '',
          parts: parts(figures.ways[way].cpuByRole),
          whisker: figures.ways[way].cpu,
        }),
      ),
    },
    latency: {
      title: `Latency added over direct plaintext at ${plan.rate} requests/s`,
      unit: 'ms, counted from when a request was due (median; whiskers: the middle half of the rounds)',
      names: WAYS,
      groups: (['p50', 'p90', 'p99'] as const).map((name) => ({
        label: name,
        bars: WAYS.slice(1).map((way) => ({
          label: way,
          parts: [{ name: way, value: figures.ways[way][added[name]].median }],
          whisker: figures.ways[way][added[name]],
        })),
      })),
    },
    memory: {
      title: 'Resident memory of all processes',
      unit: 'MB',
      groups: bars(
        (way) => way,
        (way) => ({ label: '', parts: parts(figures.ways[way].memoryByRole) }),
      ),
    },
    faults: {
      title: `Failed idempotent requests under faults, ${plan.faultRate} requests/s`,
      unit: 'failed GETs',
      names: WAYS,
      groups: FAULTS.map(({ key, name }) => ({
        label: name,
        bars: WAYS.map((way) => ({
          label: '',
          parts: [{ name: way, value: faults.get(key)!.get(way)!.load.gets.failed }],
        })),
      })),
    },
  }
}

export function markdown(comparison: Comparison): string {
  const { plan, machine, busy, startedAt, proxy, figures, faults, shapes } = comparison
  const flags = [
    ...(plan.quick ? ['--quick'] : []),
    ...(plan.rate === DEFAULT_RATE ? [] : [`--rate ${plan.rate}`]),
    ...(plan.transport === undefined ? [] : [`--transport ${plan.transport}`]),
  ]
  const command = ['npm run compare', ...(flags.length === 0 ? [] : ['--', ...flags])].join(' ')
  const warning = busyWarning(comparison)
  const costs = WAYS.map((way) => {
    const of = figures.ways[way]
    const shape = shapes.get(way)!
    return [
      way,
      ranged(of.cpu, 3),
      ranged(of.cpuAdded, 3),
      String(Math.round(of.memoryMb)),
      ranged(of.p50Ms, 2),
      ranged(of.p50Added, 2),
      ranged(of.p90Added, 2),
      ranged(of.p99Added, 2),
      String(shape.processes),
      String(shape.hops),
    ]
  })
  const slow = WAYS.map((way) => [way, ranged(figures.cpuSlow[way], 3), ranged(figures.cpuAddedSlow[way], 3)])
  const roles = WAYS.map((way) => [way, ...ROLES.map((role) => figures.ways[way].cpuByRole[role].toFixed(3))])
  const failed = FAULTS.map(({ key, name }) => [
    name,
    ...WAYS.map((way) => {
      const { load, repeats, broken } = faults.get(key)!.get(way)!
      const share = `${load.gets.failed} of ${load.gets.requests}; ${load.posts.failed} of ${load.posts.requests}; ${repeats.posts}; p99 ${Math.round(percentile(load.latenciesMs, 0.99))} ms`
      return broken === undefined ? share : `${share}; not done as described: ${broken}`
    }),
  ])
  const reasons = FAULTS.flatMap(({ key, name }) =>
    WAYS.flatMap((way) =>
      Object.entries(faults.get(key)!.get(way)!.load.failures).map(([what, count]) => [name, way, String(count), what]),
    ),
  )
  return `# Library against sidecar

\`${command}\`, ${startedAt.toISOString().slice(0, 16).replace('T', ' ')} UTC. ${machine.processor}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}, Node ${machine.node.slice(1)}, sidecar: ${proxy.version}.
Load average of the machine before: ${busy.before.toFixed(2)}, after: ${busy.after.toFixed(2)}, on ${busy.cores} cores.${warning === undefined ? '' : `\n\n**${warning}**`}

${verdicts(comparison)
  .map((line) => `- ${line.replace(/\s+/, ': ')}`)
  .join('\n')}

## While nothing is wrong

${plan.rate} requests/s, open loop, latency from when a request was due; ${plan.rounds} rounds of ${plan.secondsPerRound} s each, the ways taking turns, each after half
a second that is not counted, in which connections are made. Medians (and
between which values the middle half of the rounds lies). CPU: all processes of a way together, children and kernel included, without the load generator. Added: over direct
plaintext in the same round. Memory: resident, summed over the processes, so code that processes share counts in each.
Hops: connections from checkout to inventory.

${grid(['way', 'CPU s per 1,000', 'added', 'memory MB', 'p50 ms', 'p50 added', 'p90 added', 'p99 added', 'processes', 'hops'], costs)}

![CPU](compare-cpu.svg)

CPU seconds per 1,000 requests by who used them, each a median of its own, so they do not add up exactly:

${grid(['way', ...ROLES], roles)}

At ${plan.slowRate} requests/s, where few requests share a wake-up: ${plan.slowRounds} rounds of ${plan.slowSecondsPerRound} s each.

${grid(['way', 'CPU s per 1,000', 'added'], slow)}

![Latency](compare-latency.svg)

![Memory](compare-memory.svg)

## When something is wrong

${plan.faultRate} requests/s in each way, all ways at the same time, about ${plan.faultSeconds} s a fault. GETs failed; POSTs failed; POSTs executed more than once; p99 of all.

${grid(['fault', ...WAYS], failed)}

![Failed requests](compare-faults.svg)

${FAULTS.map(({ name, what }) => `- **${name}**: ${what}.`).join('\n')}

${
  reasons.length === 0
    ? 'No request failed.'
    : `What those who asked were told, GETs and POSTs together:\n\n${grid(['fault', 'way', 'count', 'answer'], reasons)}`
}

GETs that were executed more than once, which is what a retry is: ${WAYS.map((way) => `${way} ${figures.repeatedGets[way]}`).join(', ')}.

## What was compared

The load generator asks \`checkout\` over plain HTTP, \`checkout\` asks one of three instances of \`inventory\` for 1 KB of JSON; one request in ten is
a POST. All of them are the same Node programs in every way; nothing but the call and the server around the handler differs.

- **direct**: undici's \`Pool\` for each of three addresses in turn, kept-alive connections, no retries, no health checks: what is
  written by hand.
- **direct-mtls**: the same with mutual TLS 1.3, P-256 keys, certificates laid out by hand, the caller's name checked.
- **sidecar**: ${sidecarText(proxy.program)}
- **inmesh**: \`joinMesh\` with its defaults and a registry process of its own, whose CPU and memory count; strict mutual TLS 1.3, P-256, default
  deny and one intention; retries, budgets, breaker, ejection, peak-EWMA, metrics, trace context: all on.

## What this does not show

${limits(proxy.program)}
`
}

function sidecarText(program: 'haproxy' | 'envoy'): string {
  const name = program === 'haproxy' ? 'HAProxy' : 'Envoy'
  const balancing = program === 'haproxy' ? '`balance random(2)`' : '`LEAST_REQUEST`'
  return `one ${name} beside checkout, one beside each instance, one thread each, no logs. Mutual TLS 1.3 with P-256 between them, the caller's name, the
  paths and the methods checked; ${balancing}, two retries of GETs on connection failures and 502, 503, 504, of POSTs on connection
  failures; health checks every 2 s through the whole pair; out after five failures in a row.`
}

function limits(program: 'haproxy' | 'envoy'): string {
  const stand =
    program === 'haproxy'
      ? `- HAProxy is a stand-in for a sidecar, not Istio, Linkerd or Consul. It is a fast, mature proxy that does the work of a sidecar pair
  (two more hops, TLS, balancing, retries). It has no control plane here, no identity from a mesh's authority (it checks common names, since
  2.6 reads no SPIFFE ids), no telemetry pipeline, no latency-aware balancing, no retry budget and no deadlines. A mesh's proxy does
  more and costs what its own project says it costs.`
      : `- Envoy without Istio: the proxy that several meshes use, configured by hand. No control plane, no telemetry pipeline, no filters that a mesh adds.`
  return `${stand}
- Everything, the load generator too, runs on the cores of one machine and over loopback. There is no network, so a hop costs CPU and wake-ups
  and no distance; and whoever runs more processes waits more for a core.
- Two cores say nothing about many. Tails (p99) on a shared machine are noise to a good part: look at their spread before you believe them.
- One size of message, two rates, few connections; HTTP/1.1 in all ways but inmesh with \`transport: auto\`. CPU per request falls with the
  rate in every way, since wake-ups are shared.
- The library's cost grows in the application's own process and event loop; a proxy's does not. A service that computes for long
  stretches delays its own mesh work.
- Only Node services. A proxy serves every language.`
}

function grid(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replace(/\|/g, '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
