/**
 * Which of several matches that hold wins: the most specific one, then the older route, then the
 * first by name, then the first rule. The specification decides for each match by itself, so two
 * matches of one rule may stand far apart.
 */
import { firstOfEach, type GrpcMatch, type HttpMatch, pathOf } from './matches.ts'

/** Compared from left to right; the larger number wins. */
export type Specificity = readonly number[]

/** The specification leaves the place of regular expressions open: here as Envoy Gateway's. */
const PATH_RANK = { Exact: 2, RegularExpression: 1, PathPrefix: 0 } as const

export const lowerCase = (name: string): string => name.toLowerCase()
export const asWritten = (name: string): string => name

export function httpSpecificity(match: HttpMatch): Specificity {
  const { type, value } = pathOf(match)
  const headers = firstOfEach(match.headers, lowerCase).length
  const parameters = firstOfEach(match.queryParams, asWritten).length
  return [PATH_RANK[type], value.length, match.method === undefined ? 0 : 1, headers, parameters]
}

export function grpcSpecificity({ method, headers }: GrpcMatch): Specificity {
  const { service = '', method: name = '' } = method ?? {}
  return [service.length, name.length, firstOfEach(headers, lowerCase).length]
}

/** What orders matches of the same specificity. */
export interface Ranked {
  readonly specificity: Specificity
  /** When the route was created: wall clock, ms. */
  readonly createdAt: number
  /** `namespace/name`. */
  readonly route: string
  readonly rule: number
}

export function byPrecedence(a: Ranked, b: Ranked): number {
  for (const [i, own] of a.specificity.entries()) {
    const difference = (b.specificity[i] ?? 0) - own
    if (difference !== 0) return difference
  }
  if (a.createdAt !== b.createdAt) return a.createdAt - b.createdAt
  if (a.route !== b.route) return a.route < b.route ? -1 : 1
  return a.rule - b.rule
}
