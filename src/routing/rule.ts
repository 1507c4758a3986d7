/**
 * One alternative of a route, compiled: the conditions that the index of paths does not decide.
 */
import type { RequestHead } from '../core/request-head.ts'
import { HTTP_METHODS } from '../net/http-methods.ts'
import { compileRegex } from './linear-regex.ts'
import type { QueryReader } from './query-reader.ts'
import type { MatchSettings, RouteSettings } from './settings.ts'
import { HOST, type ValueMatch } from './value-match.ts'

/** Present if there is neither `value` nor `test`. */
interface ValueTest {
  readonly name: string
  readonly value: string | undefined
  readonly test: ((text: string) => boolean) | undefined
}

export interface Rule {
  /** The place of its route: the lowest wins. */
  readonly order: number
  readonly route: RouteSettings
  /** One bit per method; 0: any. */
  readonly methods: number
  readonly headers: readonly ValueTest[]
  readonly query: readonly ValueTest[]
  /** Of the whole path, or of a gRPC method's full name. */
  readonly regex: ((text: string) => boolean) | undefined
}

const BITS: ReadonlyMap<string, number> = new Map(HTTP_METHODS.map((method, i) => [method, 1 << i]))

/** 0 for a method that no document can name. */
export function methodBit(method: string): number {
  return BITS.get(method) ?? 0
}

/** `match` undefined: every request. Its condition on `host`, the same for all calls, holds. */
export function compileRule(order: number, route: RouteSettings, match: MatchSettings | undefined): Rule {
  const regex = match?.path?.kind === 'regex' ? match.path : match?.grpc?.kind === 'regex' ? match.grpc : undefined
  return {
    order,
    route,
    methods: (match?.methods ?? []).reduce((bits, method) => bits | methodBit(method), 0),
    headers: (match?.headers ?? []).filter(([name]) => name !== HOST).map(valueTest),
    query: (match?.query ?? []).map(valueTest),
    regex: regex === undefined ? undefined : compileRegex(regex.source),
  }
}

function valueTest([name, match]: readonly [string, ValueMatch]): ValueTest {
  return {
    name,
    value: match.kind === 'exact' ? match.value : undefined,
    test: match.kind === 'regex' ? compileRegex(match.source) : undefined,
  }
}

/** Whether the rule needs nothing beyond its path. */
export function isUnconditional({ methods, headers, query, regex }: Rule): boolean {
  return methods === 0 && headers.length === 0 && query.length === 0 && regex === undefined
}

export function headersHold(tests: readonly ValueTest[], head: RequestHead): boolean {
  for (let i = 0; i < tests.length; i++) {
    const { name, value, test } = tests[i]!
    const given = head.header(name)
    if (given === undefined) return false
    if (value !== undefined ? value !== given : test !== undefined && !test(given)) return false
  }
  return true
}

export function queryHolds(tests: readonly ValueTest[], query: QueryReader): boolean {
  for (let i = 0; i < tests.length; i++) {
    const { name, value, test } = tests[i]!
    if (value !== undefined) {
      if (!query.is(name, value)) return false
    } else if (test === undefined) {
      if (!query.has(name)) return false
    } else {
      const given = query.get(name)
      if (given === undefined || !test(given)) return false
    }
  }
  return true
}
