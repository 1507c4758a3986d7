/** Asks a registry about the calls of the mesh, for a window of time that ends now. */
import type { Command } from 'commander'
import { duration } from '../../options/quantities.ts'
import { type ConnectionFlags, withConnection } from '../connection.ts'
import { EXIT, Failure } from '../failure.ts'
import { numeric, parsed } from '../flag-values.ts'
import { type RegistryApi, RegistryRefusal } from '../registry-api.ts'

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

/** @throws Failure `registry-too-old` from a registry that knows no such question */
export async function askTraffic<T>(
  api: RegistryApi,
  question: string,
  parameters: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<T> {
  const query = new URLSearchParams(parameters)
  try {
    return await api.get<T>(`/v1/traffic/${question}?${query}`, signal)
  } catch (error) {
    throw isUnknownPath(error) ? tooOld(api, 'the service graph') : error
  }
}

export function windowOf({ window }: TrafficFlags): Readonly<Record<string, string>> {
  return { window: `${window}ms` }
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
