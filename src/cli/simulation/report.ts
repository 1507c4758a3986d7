/** A simulation as tables: by row of time, by phase, and by server. */
import { formatDuration } from '../../options/duration.ts'
import type { Scenario } from '../../simulator/scenario.ts'
import type { ServerTraffic, Simulation } from '../../simulator/simulate.ts'
import type { Interval } from '../../simulator/timeline.ts'
import { table } from '../terminal.ts'

/** More servers of one kind are one line. */
const MOST_SERVERS = 12

/** What was simulated, in one line. */
export function aboutScenario(scenario: Scenario, capacity: number): string {
  const { clients, servers, workers, perSecond, zones, faults, durationMs, seed } = scenario
  return [
    `${clients} clients, ${servers} servers${zones > 1 ? ` in ${zones} zones` : ''} with ${workers} workers each`,
    `${amount(perSecond)} calls/s (${amount((100 * perSecond) / capacity)} % of capacity) for ${formatDuration(durationMs)}`,
    `${faults.length === 0 ? 'no fault' : faults.map(({ name }) => name).join(', ')}`,
    `seed ${seed}`,
  ].join('; ')
}

export function reportLines(scenario: Scenario, simulation: Simulation, about: string): readonly string[] {
  const { total, rows, phases, traffic, events, unanswered } = simulation
  const happened = Object.entries(events).map(([name, count]) => `${name} ${count}`)
  return [
    `${scenario.service}: ${about}`,
    '',
    ...table(['seconds', ...COLUMNS], rows.map(cells)),
    '',
    ...table(
      ['phase', ...COLUMNS, 'faults'],
      [...phases.map((phase) => [...cells(phase), phase.faults.join(', ')]), [...cells(total), ''].with(0, 'all')],
    ),
    '',
    ...trafficLines(simulation, traffic),
    '',
    `events: ${happened.length === 0 ? 'none' : happened.join(', ')}`,
    ...(unanswered === 0 ? [] : [`${unanswered} calls had no answer when the simulation ended, and count as failed`]),
  ]
}

const COLUMNS = ['calls', 'failed', 'p50 ms', 'p99 ms', 'retries'] as const

/** Two digits; from 10 % on no decimals. */
function percent(share: number): string {
  return `${share < 0.0995 ? (100 * share).toPrecision(2) : (100 * share).toFixed(0)} %`
}

function cells(interval: Interval): string[] {
  const { fromMs, untilMs, calls, failed, p50Ms, p99Ms, retries } = interval
  return [
    `${amount(fromMs / 1_000)}-${amount(untilMs / 1_000)}`,
    String(calls),
    failed === 0 ? '0' : `${failed} (${percent(failed / calls)})`,
    p50Ms === null ? '-' : p50Ms.toFixed(1),
    p99Ms === null ? '-' : p99Ms.toFixed(1),
    String(retries),
  ]
}

/** Servers that differ in service, zone, version or faults; those that do not, together. */
function trafficLines({ phases }: Simulation, traffic: readonly ServerTraffic[]): readonly string[] {
  const kinds = new Map<string, ServerTraffic[]>()
  for (const one of traffic) {
    const kind = JSON.stringify([one.service, one.zone, one.version, one.faults])
    kinds.set(kind, [...(kinds.get(kind) ?? []), one])
  }
  const groups = [...kinds.values()]
  const all = phases.map((_, i) => traffic.reduce((sum, { attempts }) => sum + attempts[i]!, 0))
  const rows = (groups.length === 1 && traffic.length <= MOST_SERVERS ? traffic.map((one) => [one]) : groups).map(
    (servers) => {
      const { server, zone, version, faults } = servers[0]!
      const shares = phases.map((_, i) => {
        const own = servers.reduce((sum, { attempts }) => sum + attempts[i]!, 0)
        return all[i] === 0 ? '-' : `${((100 * own) / all[i]!).toFixed(1)} %`
      })
      const name = servers.length === 1 ? server : `${server} and ${servers.length - 1} more`
      return [name, [zone, version, ...faults].filter((word) => word !== undefined).join(', '), ...shares]
    },
  )
  const heads = phases.map(({ fromMs, untilMs }) => `${amount(fromMs / 1_000)}-${amount(untilMs / 1_000)}`)
  return table(['attempts to', '', ...heads], rows)
}

function amount(value: number): string {
  return String(Math.round(value * 10) / 10)
}
