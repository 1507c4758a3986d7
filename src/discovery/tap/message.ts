/** Reads the messages of taps, field by field; nothing in them is believed before. */
import { type AnyField, field, list, optional, text } from '../../options/fields.ts'
import { INSTANCE_ID, serviceName } from '../../options/names.ts'
import { integer, number } from '../../options/quantities.ts'
import { PATH_PATTERN, type PathPattern } from '../../routing/path-pattern.ts'
import { safeText } from '../../telemetry/access-log/safe-text.ts'
import { STATUS_PATTERN } from '../../telemetry/tap/status-match.ts'
import { TAP_LIMITS, type TapMessage, type TappedCall, type TappedMessage } from '../../telemetry/tap/tap-message.ts'
import { readField, readObject, SnapshotRejected } from '../read-field.ts'
import { TAP_HEADER } from './header.ts'

const ID = text('the id of a tap', INSTANCE_ID, 64)
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

/** A path as routes write it; it stays text, because it is sent on. */
const PATH: AnyField<string> = field(
  "a path such as '/items/42', '/items/{id}' or '/items/*'; no query",
  { type: 'string' },
  (value) => (typeof value === 'string' && pathPattern(value) !== undefined ? value : undefined),
)

/** `undefined`: it is none. */
export function pathPattern(path: string): PathPattern | undefined {
  const issues: never[] = []
  const pattern = PATH_PATTERN.parse(path, [], issues)
  return issues.length === 0 ? pattern : undefined
}

/** What operators, registries and processes say of which calls they mean. */
export const TAP_SHAPE = {
  by: optional(text('the name of an operator', /^\P{C}+$/u, 256)),
  service: serviceName(),
  from: optional(serviceName()),
  path: optional(PATH),
  method: optional(text("an HTTP method such as 'GET'", /^[A-Z][A-Z-]{0,31}$/, 32)),
  statuses: optional(
    list(text("a status such as '503', '5xx', or 'none' for no answer", STATUS_PATTERN, 4), {
      max: TAP_LIMITS.statuses,
    }),
  ),
  headers: list(TAP_HEADER, { max: TAP_LIMITS.headers }),
  perSecond: number(TAP_LIMITS.perSecond),
  forMs: integer(TAP_LIMITS.forMs),
}

/** @throws SnapshotRejected */
export function readTap(message: Readonly<Record<string, unknown>>): TapMessage {
  const read = <K extends keyof typeof TAP_SHAPE>(key: K) => readField(TAP_SHAPE[key] as AnyField, message[key], key)
  return {
    type: 'tap',
    tap: readTapId(message.tap),
    by: read('by') as string | undefined,
    service: read('service') as string,
    from: read('from') as string | undefined,
    path: read('path') as string | undefined,
    method: read('method') as string | undefined,
    statuses: read('statuses') as readonly string[] | undefined,
    headers: read('headers') as readonly string[],
    perSecond: read('perSecond') as number,
    forMs: read('forMs') as number,
  }
}

/** @throws SnapshotRejected */
export function readTapId(value: unknown): string {
  return readField(ID, value, 'tap')
}

/** @throws SnapshotRejected */
export function readTapped(message: Readonly<Record<string, unknown>>): TappedMessage {
  const { calls, left, refused } = message
  if (!Array.isArray(calls) || calls.length > TAP_LIMITS.batch) {
    throw new SnapshotRejected(`calls: expected a list of at most ${TAP_LIMITS.batch}`)
  }
  return {
    type: 'tapped',
    tap: readTapId(message.tap),
    calls: calls.map(readCall),
    ...(left !== undefined && { left: count(left, 'left') }),
    ...(refused === true && { refused }),
  }
}

/** @throws SnapshotRejected */
export function readCall(value: unknown): TappedCall {
  const { at, side, to, protocol, method, path, status, code, ms, attempts, hedged, ...given } = readObject(
    value,
    'call',
  )
  const { endpoint, version, route, trace, headers } = given
  return {
    at: count(at, 'at'),
    ...(side === 'server' && { side }),
    to: readField(TAP_SHAPE.service, to, 'to'),
    protocol: printable(protocol, 'protocol'),
    method: printable(method, 'method'),
    ...(path !== undefined && { path: printable(path, 'path', TAP_LIMITS.path) }),
    ...(status !== undefined && { status: count(status, 'status', 999) }),
    ...(code !== undefined && { code: printable(code, 'code') }),
    ms: readField(number({ min: 0, max: Number.MAX_SAFE_INTEGER }), ms, 'ms'),
    attempts: count(attempts, 'attempts', 1_000_000),
    ...(hedged === true && { hedged }),
    ...(endpoint !== undefined && { endpoint: printable(endpoint, 'endpoint') }),
    ...(version !== undefined && { version: printable(version, 'version') }),
    ...(route !== undefined && { route: printable(route, 'route') }),
    ...(trace !== undefined && { trace: printable(trace, 'trace') }),
    ...(headers !== undefined && { headers: readHeaders(headers) }),
  }
}

function readHeaders(value: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(readObject(value, 'headers'))
  if (entries.length > TAP_LIMITS.headers) throw new SnapshotRejected(`headers: more than ${TAP_LIMITS.headers}`)
  return Object.fromEntries(
    entries.map(([name, header]) => [
      readField(TAP_HEADER, name, 'headers'),
      printable(header, 'header', TAP_LIMITS.header),
    ]),
  )
}

function count(value: unknown, name: string, max = Number.MAX_SAFE_INTEGER): number {
  return readField(integer({ min: 0, max }), value, name)
}

/** Without anything that a terminal obeys. */
export function printable(value: unknown, name: string, longest: number = TAP_LIMITS.text): string {
  if (typeof value !== 'string' || value.length > longest) {
    throw new SnapshotRejected(`${name}: expected text of at most ${longest} characters`)
  }
  return UNPRINTABLE.test(value) ? safeText(value, longest) : value
}
