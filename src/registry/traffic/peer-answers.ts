/**
 * What other registries answered, checked as far as sums and texts need it: a registry that is
 * broken, or of another version, spoils no answer of this one.
 */
import { checkDigest } from '../../telemetry/traffic/latency-digest.ts'
import {
  type Body,
  type Checks,
  has,
  isBoolean,
  isCount,
  isList,
  isNumber,
  isObject,
  isText,
  isTexts,
  maybe,
  orNull,
} from '../fleet/answer-checks.ts'
import type { Cell } from './cells.ts'
import type { ProcessCertificate } from './certificates.ts'
import type { ProcessReport } from './instances.ts'
import type { LocalAnswer, ProcessSpan } from './local-answer.ts'
import type { Mark } from './marks.ts'
import type { ServedFigures } from './served.ts'

/** A mark with its age, because clocks of registries need not agree. */
export type AgedMark = Mark & { readonly agoMs: number }

export function windowIn(body: Body): LocalAnswer | undefined {
  return has<LocalAnswer>(body, WINDOW) ? body : undefined
}

export function processesIn({ processes }: Body): readonly ProcessReport[] | undefined {
  return isList<ProcessReport>(processes, (one) => has(one, REPORT)) ? processes : undefined
}

export function certificatesIn({ certificates }: Body): readonly ProcessCertificate[] | undefined {
  return isList<ProcessCertificate>(certificates, (one) => has(one, CERTIFICATE)) ? certificates : undefined
}

export function marksIn({ marks }: Body): readonly AgedMark[] | undefined {
  return isList<AgedMark>(marks, (one) => has(one, MARK)) ? marks : undefined
}

const CELL: Checks<Cell> = {
  step: isCount,
  from: isText,
  to: isText,
  via: maybe(isText),
  protocol: maybe(isText),
  method: maybe(isText),
  route: maybe(isText),
  version: maybe(isText),
  zone: maybe(isText),
  tls: maybe(isBoolean),
  calls: maybe(isCount),
  codes: maybe((codes) => isObject(codes) && Object.values(codes).every(isCount)),
  retries: maybe(isCount),
  hedges: maybe(isCount),
  mirrored: maybe(isCount),
  ms: maybe(isDigest),
}

const SPAN: Checks<ProcessSpan> = {
  name: isText,
  service: isText,
  reports: isBoolean,
  from: isNumber,
  to: isNumber,
  holes: (holes) => isList(holes, (hole) => isList(hole, isNumber) && hole.length === 2),
  notAfter: maybe(isNumber),
}

const WINDOW: Checks<LocalAnswer> = {
  registry: isText,
  sinceMs: isNumber,
  cells: (cells) => isList(cells, (one) => has(one, CELL)),
  processes: (processes) => isList(processes, (one) => has(one, SPAN)),
  states: (states) =>
    isList(states, (one) => has(one, { process: isText, to: isText, what: isText, state: isText, endpoint: isText })),
  inFlight: (all) =>
    isList(all, (one) => isList(one) && one.length === 3 && isText(one[0]) && isText(one[1]) && isCount(one[2])),
}

const SERVED: Checks<ServedFigures> = {
  perSecond: isNumber,
  success: orNull(isNumber),
  p50: orNull(isNumber),
  p99: orNull(isNumber),
  inFlight: isCount,
}

const REPORT: Checks<ProcessReport> = {
  process: isText,
  registry: isText,
  instances: isTexts,
  connected: isBoolean,
  reports: isBoolean,
  silentMs: orNull(isNumber),
  certificateEndsAt: orNull(isNumber),
  watches: orNull(isCount),
  behind: orNull(isCount),
  perSecond: orNull(isNumber),
  success: orNull(isNumber),
  p50: orNull(isNumber),
  p99: orNull(isNumber),
  inFlight: orNull(isCount),
  // Older registries do not say it.
  served: maybe((served) => isObject(served) && Object.values(served).every((one) => has(one, SERVED))),
}

const CERTIFICATE: Checks<ProcessCertificate> = {
  process: isText,
  service: isText,
  certificateEndsAt: orNull(isNumber),
}

const MARK: Checks<AgedMark> = {
  at: isNumber,
  agoMs: isNumber,
  service: isText,
  process: isText,
  to: isText,
  what: isText,
  old: maybe(isBoolean),
  before: maybe(isText),
  now: maybe(isText),
  protocol: maybe(isText),
  route: maybe(isText),
  endpoint: maybe(isText),
  reason: maybe(isText),
}

function isDigest(value: unknown): boolean {
  if (typeof value !== 'string') return false
  try {
    checkDigest(value)
    return true
  } catch {
    return false
  }
}
