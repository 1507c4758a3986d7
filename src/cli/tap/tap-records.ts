/** The records of a tap as a registry sends them, until its end. */
import type { TapRecord } from '../../registry/tap/operator-tap.ts'
import { type Check, instant, listOf, number, optional, shape, text, texts } from '../answer-shape.ts'
import { EXIT, Failure } from '../failure.ts'
import { NO_ANSWER, REQUEST_TIMEOUT_MS, type RegistryApi, RegistryRefusal } from '../registry-api.ts'
import { unexpected } from '../traffic/ask.ts'

/** Of one record. */
const LONGEST_LINE = 1024 * 1024

const CHECKS: Readonly<Record<string, Check>> = {
  tap: shape({
    ...{ processes: number, notTappable: listOf(text), registries: listOf(text) },
    unreachable: listOf(shape({ registry: text, reason: text })),
  }),
  call: shape({
    ...{ at: instant, from: text, to: text, protocol: text, method: text, ms: number, attempts: number },
    ...{ path: optional(text), status: optional(number), code: optional(text), endpoint: optional(text) },
    ...{ version: optional(text), route: optional(text), trace: optional(text), headers: optional(texts) },
  }),
  busy: shape({ processes: listOf(text) }),
  end: shape({ why: text, calls: number, left: number }),
}

/**
 * `signal` ends it without an error.
 *
 * @throws Failure `broken-off` after the first record, if none comes for 10 s or the registry ends
 *   it early; RegistryRefusal if it no longer takes the token
 */
export async function* recordsOf(api: RegistryApi, body: object, signal: AbortSignal): AsyncGenerator<TapRecord> {
  const silence = new Silence()
  const ended = AbortSignal.any([signal, silence.signal])
  let hasBegun = false
  try {
    for await (const record of linesOf(api, body, ended)) {
      silence.broken()
      hasBegun = true
      yield record
      if (record.type === 'end') return
    }
  } catch (error) {
    if (!hasBegun || !(error instanceof Failure) || error.exitCode !== EXIT.unreachable) throw error
    throw await whyEnded(api, error.message)
  } finally {
    silence.close()
  }
  if (signal.aborted) return
  if (!silence.signal.aborted) throw await whyEnded(api, 'its answer ended')
  if (hasBegun) throw brokenOff(api, NO_ANSWER)
  throw new Failure(EXIT.unreachable, 'registry-unreachable', `no answer from the registry at ${api.url}: ${NO_ANSWER}`)
}

export function brokenOff(api: RegistryApi, why: string): Failure {
  return new Failure(EXIT.failed, 'broken-off', `${api.url} ended the tap early: ${why}`)
}

/** A token that has ended takes its connections with it, without a word. */
async function whyEnded(api: RegistryApi, why: string): Promise<Failure> {
  try {
    await api.get('/v1/services')
  } catch (error) {
    if (error instanceof RegistryRefusal) return error
  }
  return brokenOff(api, why)
}

async function* linesOf(api: RegistryApi, body: object, signal: AbortSignal): AsyncGenerator<TapRecord> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const part of api.stream('/v1/tap', body, signal)) {
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n')
    rest = lines.pop()!
    for (const line of lines) yield readRecord(api, line)
    if (rest.length > LONGEST_LINE) throw unreadable(api)
  }
}

/** Records of other types are those of another version. */
function readRecord(api: RegistryApi, line: string): TapRecord {
  let record: TapRecord | null
  try {
    record = JSON.parse(line) as TapRecord | null
  } catch {
    throw unreadable(api)
  }
  if (typeof record?.type !== 'string') throw unreadable(api)
  const check = Object.hasOwn(CHECKS, record.type) ? CHECKS[record.type] : undefined
  if (check?.(record, '') === undefined) return record
  throw unreadable(api)
}

function unreadable(api: RegistryApi): Failure {
  return unexpected(api, 'something that is no record of a tap')
}

/** Aborts when no record has come for as long as an answer may take; there is one every 3 s. */
class Silence {
  readonly #abort = new AbortController()
  readonly #timer = setTimeout(() => this.#abort.abort(), REQUEST_TIMEOUT_MS)

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  broken(): void {
    this.#timer.refresh()
  }

  close(): void {
    clearTimeout(this.#timer)
  }
}
