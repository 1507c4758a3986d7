/** One call of a tap as a line, and the remarks beside the calls. */
import { grpcStatusName } from '../../core/status.ts'
import type { TapRecord } from '../../registry/tap/operator-tap.ts'
import type { SeenCall } from '../../registry/tap/tap-hub.ts'
import { TAP_LIMITS } from '../../telemetry/tap/tap-message.ts'
import { printable, type Terminal } from '../terminal.ts'
import { count } from '../traffic/coverage-text.ts'
import { figure } from '../traffic/figures.ts'

const MOST_NAMED = 5

export function callLine(call: SeenCall, terminal: Pick<Terminal, 'paint'>): string {
  const { at, from, to, protocol, method, path, ms, attempts, hedged, endpoint, version, route, trace, headers } = call
  const parts = [
    new Date(at).toISOString().slice(11, 23),
    `${from} -> ${to}`,
    path === undefined ? `${protocol} ${method}` : `${method} ${path}`,
    statusText(call),
    `${figure(ms)} ms`,
    ...(attempts > 1 ? [`${attempts} attempts${hedged === true ? ', hedged' : ''}`] : []),
    ...(endpoint === undefined ? [] : [`at ${endpoint}${version === undefined ? '' : ` (${version})`}`]),
    ...(route === undefined ? [] : [`route ${route}`]),
    ...(trace === undefined ? [] : [`trace ${trace}`]),
    ...Object.entries(headers ?? {}).map(([name, value]) => `${name}: ${value}`),
  ].map(printable)
  if (call.code !== undefined && call.code !== 'cancelled') parts[3] = terminal.paint('red', parts[3]!)
  return parts.join('  ')
}

function statusText({ protocol, status, code }: SeenCall): string {
  if (status === undefined) return code ?? 'no status'
  const shown = protocol === 'grpc' ? grpcStatusName(status) : String(status)
  return code === undefined ? shown : `${shown} ${code}`
}

/** What was asked, and what cannot be seen. */
export function beginning(record: Extract<TapRecord, { type: 'tap' }>): string[] {
  const { processes, notTappable, registries, unreachable } = record
  const lines =
    processes === 0
      ? ['no process has such calls now; those that come are asked']
      : [`watching ${count(processes, 'process')} at ${count(registries.length, 'registry')}; Ctrl-C ends it`]
  if (notTappable.length > 0) {
    lines.push(`not tappable, of an older version or with \`tap: false\`: ${named(notTappable)}`)
  }
  for (const { registry, reason } of unreachable) {
    lines.push(`registry ${printable(registry)} does not answer: ${printable(reason)}`)
  }
  return lines
}

/** Processes whose calls do not come. */
export function busy({ processes }: Extract<TapRecord, { type: 'busy' }>): string {
  return `not tappable now, with ${TAP_LIMITS.taps} taps already: ${named(processes)}`
}

function named(processes: readonly string[]): string {
  const more = processes.length > MOST_NAMED ? `, and ${processes.length - MOST_NAMED} more` : ''
  return `${processes.slice(0, MOST_NAMED).map(printable).join(', ')}${more}`
}

const WHY: Readonly<Record<string, string>> = {
  max: 'as many as asked for',
  time: 'the time is over',
  closing: 'the registry stops',
}

export function ending(record: Extract<TapRecord, { type: 'end' }>): string {
  const { why, calls, left } = record
  const more = left === 0 ? '' : `, ${left} more matched and were not shown`
  return `${printable(Object.hasOwn(WHY, why) ? WHY[why] : why)}: ${count(calls, 'call')}${more}`
}
