/** Reads the `traffic` message of a process; nothing in it is believed before it is checked. */
import { SERVICE_NAME } from '../../options/names.ts'
import { checkDigest, InvalidDigest, MOST_COUNTED } from '../../telemetry/traffic/latency-digest.ts'
import {
  OTHER,
  OUTSIDE,
  type ServedSeries,
  TRAFFIC_LIMITS,
  type TrafficMark,
  type TrafficMessage,
  type TrafficSeries,
  UNPRINTABLE,
} from '../../telemetry/traffic/traffic-message.ts'
import { readObject, SnapshotRejected } from '../read-field.ts'

export { OTHER, OUTSIDE, type ServedSeries, TRAFFIC_LIMITS, type TrafficMark, type TrafficMessage, type TrafficSeries }

const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

/**
 * Builds the message anew, field by field: no unknown key gets further. It is on the registry's
 * hot path, so it makes no path of a field before that is refused.
 *
 * @throws SnapshotRejected naming the first wrong field
 */
export function readTraffic(message: Readonly<Record<string, unknown>>): TrafficMessage {
  const { left, marksLeft, served } = message
  const marks = message.marks === undefined ? [] : readList(message.marks, 'marks', TRAFFIC_LIMITS.marks, readMark)
  return {
    type: 'traffic',
    sequence: count(message.sequence, 'sequence', 1),
    forMs: count(message.forMs, 'forMs', 0, TRAFFIC_LIMITS.forMs),
    series: readList(message.series, 'series', TRAFFIC_LIMITS.series + 1, readSeries),
    ...(left !== undefined && { left: count(left, 'left') }),
    ...(served !== undefined && { served: readList(served, 'served', TRAFFIC_LIMITS.served, readServed) }),
    ...(marks.length > 0 && { marks }),
    ...(marksLeft !== undefined && { marksLeft: count(marksLeft, 'marksLeft') }),
  }
}

function readSeries(value: unknown): TrafficSeries {
  const given = readObject(value, 'series')
  const series: { -readonly [K in keyof TrafficSeries]: TrafficSeries[K] } = readEnds(given)
  if (given.via !== undefined) series.via = matching(given.via, 'via', SERVICE_NAME)
  if (given.method !== undefined) series.method = printable(given.method, 'method')
  if (given.route !== undefined) series.route = printable(given.route, 'route')
  if (given.version !== undefined) series.version = printable(given.version, 'version')
  if (given.zone !== undefined) series.zone = printable(given.zone, 'zone')
  if (typeof given.tls === 'boolean') series.tls = given.tls
  if (given.calls !== undefined) series.calls = count(given.calls, 'calls')
  if (given.retries !== undefined) series.retries = count(given.retries, 'retries')
  if (given.hedges !== undefined) series.hedges = count(given.hedges, 'hedges')
  if (given.mirrored !== undefined) series.mirrored = count(given.mirrored, 'mirrored')
  if (given.inFlight !== undefined) series.inFlight = count(given.inFlight, 'inFlight')
  const calls = series.calls ?? 0
  if (given.codes !== undefined) series.codes = readCodes(given.codes, calls)
  if (given.ms !== undefined) series.ms = readDigest(given.ms, calls)
  return series
}

/** Who called whom, and how. */
function readEnds({ side, from, to, protocol }: Record<string, unknown>): TrafficSeries {
  if (side !== undefined) {
    if (side !== 'server') throw new SnapshotRejected("side: expected 'server'")
    if (from !== OUTSIDE) throw new SnapshotRejected(`from: expected '${OUTSIDE}'`)
    return { side, from, protocol: matching(protocol, 'protocol', WORD) }
  }
  const service = matching(to, 'to', SERVICE_NAME)
  if (protocol !== undefined) return { to: service, protocol: matching(protocol, 'protocol', WORD) }
  if (service !== OTHER) throw new SnapshotRejected('protocol: expected a name')
  return { to: service }
}

/** Failures are calls, so there are no more of them. */
function readCodes(value: unknown, calls: number): Record<string, number> {
  const entries = Object.entries(readObject(value, 'codes'))
  if (entries.length > TRAFFIC_LIMITS.codes) throw new SnapshotRejected(`codes: at most ${TRAFFIC_LIMITS.codes}`)
  const codes: Record<string, number> = {}
  let failed = 0
  for (const [code, counted] of entries) {
    const known = matching(code, 'codes', WORD)
    failed += codes[known] = count(counted, 'codes')
  }
  if (failed > calls) throw new SnapshotRejected('codes: more failures than calls')
  return codes
}

function readDigest(value: unknown, calls: number): string {
  if (typeof value !== 'string') throw new SnapshotRejected('ms: expected a digest')
  let timed: number
  try {
    timed = checkDigest(value)
  } catch (error) {
    if (!(error instanceof InvalidDigest)) throw error
    throw new SnapshotRejected(`ms: ${error.message}`)
  }
  if (timed > calls) throw new SnapshotRejected('ms: more latencies than calls')
  return value
}

function readServed(value: unknown): ServedSeries {
  const given = readObject(value, 'served')
  const ended = given.ended === undefined ? 0 : count(given.ended, 'ended')
  const failed = given.failed === undefined ? 0 : count(given.failed, 'failed')
  const cancelled = given.cancelled === undefined ? 0 : count(given.cancelled, 'cancelled')
  if (failed + cancelled > ended) throw new SnapshotRejected('failed: more failures than requests')
  return {
    id: printable(given.id, 'id'),
    ended,
    failed,
    cancelled,
    ...(given.inFlight !== undefined && { inFlight: count(given.inFlight, 'inFlight') }),
    ...(given.ms !== undefined && { ms: readDigest(given.ms, ended) }),
  }
}

function readMark(value: unknown): TrafficMark {
  const given = readObject(value, 'marks')
  const { at } = given
  if (!Number.isSafeInteger(at) || (at as number) > 0 || (at as number) < -TRAFFIC_LIMITS.markAgeMs) {
    throw new SnapshotRejected(`at: expected a whole number from -${TRAFFIC_LIMITS.markAgeMs} to 0`)
  }
  const mark: { -readonly [K in keyof TrafficMark]: TrafficMark[K] } = {
    at: at as number,
    ...(given.old === true && { old: true }),
    to: matching(given.to, 'to', SERVICE_NAME),
    what: matching(given.what, 'what', WORD),
  }
  if (given.from !== undefined) mark.from = matching(given.from, 'from', WORD)
  if (given.now !== undefined) mark.now = matching(given.now, 'now', WORD)
  if (given.protocol !== undefined) mark.protocol = matching(given.protocol, 'protocol', WORD)
  if (given.route !== undefined) mark.route = printable(given.route, 'route')
  if (given.endpoint !== undefined) mark.endpoint = printable(given.endpoint, 'endpoint')
  if (given.reason !== undefined) mark.reason = printable(given.reason, 'reason')
  return mark
}

/** Names the entry of a list that was refused. */
function readList<T>(value: unknown, name: string, most: number, read: (entry: unknown) => T): T[] {
  if (!Array.isArray(value) || value.length > most) {
    throw new SnapshotRejected(`${name}: expected a list of at most ${most}`)
  }
  const all: T[] = []
  for (const entry of value as unknown[]) {
    try {
      all.push(read(entry))
    } catch (error) {
      if (!(error instanceof SnapshotRejected)) throw error
      throw new SnapshotRejected(`${name}[${all.length}]: ${error.message}`)
    }
  }
  return all
}

function count(value: unknown, name: string, min = 0, max = MOST_COUNTED): number {
  if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
    throw new SnapshotRejected(`${name}: expected a whole number from ${min} to ${max}`)
  }
  return value as number
}

function matching(value: unknown, name: string, shape: RegExp): string {
  if (typeof value !== 'string' || value.length > TRAFFIC_LIMITS.text || !shape.test(value)) {
    throw new SnapshotRejected(`${name}: expected a name`)
  }
  return value
}

function printable(value: unknown, name: string): string {
  if (typeof value !== 'string' || value.length > TRAFFIC_LIMITS.text || UNPRINTABLE.test(value)) {
    throw new SnapshotRejected(`${name}: expected at most ${TRAFFIC_LIMITS.text} printable characters`)
  }
  return value
}
