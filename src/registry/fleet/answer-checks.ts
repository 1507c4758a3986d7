/** Checks the fields of what other registries answer. Fields of later versions pass. */

export type Body = Readonly<Record<string, unknown>>
export type Checks<T> = { readonly [K in keyof T]-?: (value: unknown) => boolean }

export const OTHER_VERSION = 'its answer is not one of this version'

/** What another registry answered. `body: undefined`: it did not, for this reason. */
export interface PeerAnswer {
  readonly registry: string
  readonly body: Readonly<Record<string, unknown>> | undefined
  readonly reason: string
}

export interface PeerAnswers<T> {
  readonly answered: readonly { readonly registry: string; readonly value: T }[]
  readonly unreachable: readonly { readonly registry: string; readonly reason: string }[]
}

/** `read` gives `undefined` for what is no answer of this version. */
export function readAnswers<T>(all: readonly PeerAnswer[], read: (body: Body) => T | undefined): PeerAnswers<T> {
  const answered: { registry: string; value: T }[] = []
  const unreachable: { registry: string; reason: string }[] = []
  for (const { registry, body, reason } of all) {
    const value = body === undefined ? undefined : read(body)
    if (value !== undefined) answered.push({ registry, value })
    else unreachable.push({ registry, reason: body === undefined ? reason : OTHER_VERSION })
  }
  return { answered, unreachable }
}

export const isText = (value: unknown): boolean => typeof value === 'string'
export const isBoolean = (value: unknown): boolean => typeof value === 'boolean'
export const isNumber = (value: unknown): boolean => Number.isFinite(value)
export const isCount = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0
export const isTexts = (value: unknown): boolean => isList(value, isText)
/** Where nothing is known. */
export const orNull = (check: (value: unknown) => boolean) => (value: unknown) => value === null || check(value)
export const maybe = (check: (value: unknown) => boolean) => (value: unknown) => value === undefined || check(value)

export function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function isList<T = unknown>(
  value: unknown,
  check: (one: unknown) => boolean = () => true,
): value is readonly T[] {
  return Array.isArray(value) && value.every(check)
}

export function has<T>(value: unknown, checks: Checks<T>): value is T & Body {
  if (!isObject(value)) return false
  for (const key in checks) if (!checks[key](value[key])) return false
  return true
}
