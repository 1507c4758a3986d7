/** Asks a registry about the calls of the mesh, for a window of time that ends now. */
import type { Command } from 'commander'
import { duration } from '../../options/quantities.ts'
import { type ConnectionFlags, withConnection } from '../connection.ts'
import { EXIT, Failure } from '../failure.ts'
import { numeric, parsed } from '../flag-values.ts'
import { type RegistryApi, RegistryRefusal } from '../registry-api.ts'
import { mistakeIn, type TrafficAnswers } from './answers.ts'

const WINDOW = duration({ min: 5_000, max: 3_600_000 })
const MINUTE_MS = 60_000

export interface TrafficFlags extends ConnectionFlags {
  readonly window: number
}

/** Adds `--window` and the flags of a connection. */
export function withWindow(command: Command): Command {
  return withConnection(
    command.option(
      '--window <duration>',
      'the time that figures are of, up to now: 5s to 1h (default 60s)',
      parsed(WINDOW, numeric),
      MINUTE_MS,
    ),
  )
}

/** @throws Failure `registry-too-old` from one that knows no such question, `unexpected-answer` */
export async function askTraffic<Q extends keyof TrafficAnswers>(
  api: RegistryApi,
  question: Q,
  parameters: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<TrafficAnswers[Q]> {
  const query = new URLSearchParams(parameters)
  let answer: TrafficAnswers[Q]
  try {
    answer = await api.get(`/v1/traffic/${question}?${query}`, signal)
  } catch (error) {
    throw isUnknownPath(error) ? tooOld(api, 'the service graph') : error
  }
  const mistake = mistakeIn(question, answer)
  if (mistake === undefined) return answer
  const where = mistake === '' ? '' : ` (its ${mistake} is invalid)`
  throw unexpected(api, `something that is no service graph${where}; is it an inmesh registry?`)
}

export function windowOf({ window }: TrafficFlags): Readonly<Record<string, string>> {
  return { window: `${window}ms` }
}

export function unexpected(api: RegistryApi, what: string): Failure {
  return new Failure(EXIT.failed, 'unexpected-answer', `${api.url} answered ${what}`)
}

/** The registry has no such path, as opposed to one that keeps nothing there. */
export function isUnknownPath(error: unknown): boolean {
  return error instanceof RegistryRefusal && error.status === 404 && error.message.startsWith('there is nothing at ')
}

export function tooOld(api: RegistryApi, what: string): Failure {
  return new Failure(
    EXIT.failed,
    'registry-too-old',
    `the registry at ${api.url} is older than ${what}; upgrade it, then ask again`,
  )
}
