/**
 * Reads load reports of ORCA (gRFC A51): `endpoint-load-metrics` with `TEXT name=value,...`,
 * `JSON {...}` or `BIN base64`, or base64 in `endpoint-load-metrics-bin`. A wrong one is none.
 */
import type { LoadReport } from '../../core/load-report.ts'
import { duplicateKey } from '../../discovery/registry/duplicate-key.ts'
import { isOrcaField, NAMED_METRICS, OrcaMetrics } from './metrics.ts'
import { readMessage } from './protobuf.ts'

type Value = string | readonly string[] | undefined

/** Reports are shorter; of longer ones, nothing is read. */
const MOST_LENGTH = 4_096
const MOST_NUMBER_LENGTH = 32
const NUMBER = /^[-+.\deE]+$/
const BASE64 = /^[\w+/-]+={0,2}$/

export function readOrca(text: Value, binary: Value, now: number): LoadReport | undefined {
  // Two reports may say different things.
  if (text !== undefined && binary !== undefined) return undefined
  const given = text ?? binary
  if (typeof given !== 'string' || given.length > MOST_LENGTH) return undefined
  const metrics = new OrcaMetrics()
  if (binary !== undefined) readBinary(given, metrics)
  else if (given.startsWith('TEXT ')) readText(given.slice(5), metrics)
  else if (given.startsWith('JSON ')) readJson(given.slice(5), metrics)
  else if (given.startsWith('BIN ')) readBinary(given.slice(4), metrics)
  else return undefined
  return metrics.report(now)
}

function readBinary(text: string, metrics: OrcaMetrics): void {
  const base64 = text.trim()
  if (!BASE64.test(base64)) metrics.valid = false
  else readMessage(Buffer.from(base64, 'base64'), metrics)
}

/** Envoy has written `name:value`, too. */
function readText(text: string, metrics: OrcaMetrics): void {
  for (const entry of text.split(',')) {
    const at = entry.search(/[=:]/)
    const name = entry.slice(0, at).trim()
    // With a space it begins another report.
    if (at === -1 || name === '' || name.includes(' ')) {
      metrics.valid = false
      return
    }
    const value = numberOf(entry.slice(at + 1).trim())
    if (name.startsWith(`${NAMED_METRICS}.`)) metrics.named(name.slice(NAMED_METRICS.length + 1), value)
    else metrics.field(name, value)
  }
}

/** The names are those of the message, or the same in lowerCamelCase (ProtoJSON). */
function readJson(text: string, metrics: OrcaMetrics): void {
  const message = parsedJson(text)
  if (message === undefined) {
    metrics.valid = false
    return
  }
  for (const [key, value] of Object.entries(message)) {
    const name = key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    if (name === NAMED_METRICS && typeof value === 'object' && value !== null) {
      for (const [metric, entry] of Object.entries(value)) metrics.named(metric, numberOf(entry))
    } else if (isOrcaField(name)) metrics.field(name, numberOf(value))
  }
}

/** Of equal names, `JSON.parse` keeps the last; here they make the report invalid. */
function parsedJson(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
    return duplicateKey(text) === undefined ? value : undefined
  } catch {
    return undefined
  }
}

/** NaN for anything that is no decimal number. */
function numberOf(value: unknown): number {
  if (typeof value === 'number') return value
  if (typeof value !== 'string' || value.length > MOST_NUMBER_LENGTH || !NUMBER.test(value)) return Number.NaN
  return Number(value)
}
