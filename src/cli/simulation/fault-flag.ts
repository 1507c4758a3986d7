/** Reads `--fault slow=1:20@6s-21s`: what goes wrong, at how many servers, and when. */
import { InvalidArgumentError } from 'commander'
import { formatDuration, parseDuration } from '../../options/duration.ts'
import type { FaultKind } from '../../simulator/faults.ts'
import type { ScenarioFault } from '../../simulator/scenario.ts'
import { type Failure, invalidUsage } from '../failure.ts'

export interface GivenFault {
  readonly text: string
  readonly kind: FaultKind
  /** How many servers it hits; `undefined`: all. */
  readonly count: number | undefined
  readonly fromMs: number | undefined
  /** `Infinity`: to the end. */
  readonly untilMs: number | undefined
}

const EXPECTED = "Expected slow=N, fail=N, refuse=N, stall=N or outage, with times or without: 'slow=1@6s-21s'"
const FAULT = /^(?:(slow|fail|refuse|stall)=(\d{1,6})((?::[^:@]+)*)|(outage))(?:@([^-@]+)-([^-@]*))?$/
const SLOW = 10
const MOST_SLOW = 1_000
/** Shorter ones fall between the cells of the timeline. */
const SHORTEST_MS = 100

/** @throws InvalidArgumentError with what is valid */
export function readFault(text: string): GivenFault {
  const [, name, count, more = '', outage, from, until] = FAULT.exec(text) ?? refuse(`${EXPECTED}.`)
  const details = more.split(':').slice(1)
  if (name !== undefined && Number(count) === 0) refuse(`${name}: expected at least 1 server.`)
  return {
    text,
    kind: outage !== undefined ? 'refuses' : kindOf(name as 'slow', details),
    count: outage !== undefined ? undefined : Number(count),
    fromMs: from === undefined ? undefined : time(from),
    untilMs: until === undefined ? undefined : until === '' ? Number.POSITIVE_INFINITY : time(until),
  }
}

function kindOf(name: 'slow' | 'fail' | 'refuse' | 'stall', details: readonly string[]): FaultKind {
  switch (name) {
    case 'slow':
      return { slow: factor(details) }
    case 'fail':
      return failing(details)
    default:
      if (details.length > 0) refuse(`'${name}' takes a number of servers only, got ':${details[0]}'.`)
      return name === 'refuse' ? 'refuses' : 'stopped'
  }
}

function factor(details: readonly string[]): number {
  const [text = String(SLOW), ...rest] = details
  const value = /^\d{1,4}(?:\.\d{1,3})?$/.test(text) ? Number(text) : 0
  if (rest.length > 0 || value <= 1 || value > MOST_SLOW) {
    refuse(`slow: expected a factor above 1, at most ${MOST_SLOW}, such as 'slow=1:20', got ':${details.join(':')}'.`)
  }
  return value
}

function failing(details: readonly string[]): FaultKind {
  let status: number | undefined
  let share: number | undefined
  for (const text of details) {
    const value = Number(/^(\d{1,3}(?:\.\d{1,3})?)%?$/.exec(text)?.[1])
    const isShare = text.endsWith('%') && value > 0 && value <= 100 && share === undefined
    const isStatus = (value === 429 || (Number.isInteger(value) && value >= 500 && value <= 599)) && !isShare
    if (isShare) share = value / 100
    else if (isStatus && !text.endsWith('%') && status === undefined) status = value
    else refuse(`fail: expected a status (429, 500 to 599) and a share such as '30%', got ':${text}'.`)
  }
  return { fails: share ?? 1, ...(status !== undefined && { status }) }
}

function time(text: string): number {
  return parseDuration(text) ?? refuse(`Expected times such as '6s-21s' or '6s-', got '${text}'.`)
}

function refuse(message: string): never {
  throw new InvalidArgumentError(message)
}

/** Gives each fault servers that no other has. @throws Failure if it does not fit the scenario */
export function placeFaults(
  given: readonly GivenFault[],
  servers: number,
  durationMs: number,
): readonly ScenarioFault[] {
  let next = 0
  return given.map(({ text, kind, count, fromMs = durationMs / 3, untilMs = (durationMs * 2) / 3 }) => {
    if (fromMs >= durationMs || (untilMs !== Number.POSITIVE_INFINITY && untilMs > durationMs)) {
      throw wrong(text, `the simulation ends at ${formatDuration(durationMs)}`)
    }
    if (untilMs - fromMs < SHORTEST_MS) throw wrong(text, `expected an end at least ${SHORTEST_MS}ms after its begin`)
    const first = count === undefined ? 0 : next
    const until = count === undefined ? servers : next + count
    if (until > servers) {
      throw wrong(text, `the faults need ${until} servers and there are ${servers}; see --servers`)
    }
    if (count !== undefined) next = until
    return {
      ...{ name: text, kind, fromMs, untilMs },
      servers: Array.from({ length: until - first }, (_, i) => first + i),
    }
  })
}

function wrong(text: string, why: string): Failure {
  return invalidUsage(`--fault ${text}: ${why}`)
}
