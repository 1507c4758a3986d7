/**
 * What the access log holds, as documents and `joinMesh` say it. A document's word counts before
 * the option's, key by key.
 */
import { TOKEN } from '../../core/headers.ts'
import { convert, either } from '../../options/composed-fields.ts'
import { exactly, type Field, flag, instance, list, oneOf, optional, text, withDefault } from '../../options/fields.ts'
import { duration, share } from '../../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOf } from '../../resilience/define-policy.ts'
import { isSecretHeader } from '../redact.ts'
import type { AccessLogTarget } from './line-writer.ts'

export type LoggedSide = 'client' | 'server'
export const LOGGED_SIDES = ['client', 'server'] as const satisfies readonly LoggedSide[]

/** As many as the bound of a line allows, each with {@link LONGEST_HEADER}. */
const MOST_HEADERS = 16
const LONGEST_HEADER_NAME = 64
const DEFAULT_SAMPLE = 0.01
const LONGEST_SLOW_MS = 3_600_000

const headerName = convert(text('the name of a header', TOKEN, LONGEST_HEADER_NAME), (name) => name.toLowerCase())

const definition = definePolicy('accessLog', {
  /** Share of the calls that get a line although nothing is wrong. @defaultValue `'1%'` */
  sample: optional(share()),
  /** Calls that take as long always get a line; streams do not. @defaultValue none */
  slowerThan: optional(duration({ min: 1, max: LONGEST_SLOW_MS })),
  /** Headers, or gRPC metadata, of requests to show. @defaultValue none */
  headers: optional(list(headerName, { max: MOST_HEADERS })),
  /** Lines of calls, of served requests, or of both. @defaultValue both */
  sides: optional(list(oneOf(LOGGED_SIDES), { min: 1, max: LOGGED_SIDES.length })),
})
/** What is logged of the calls to a service, and of the requests that it serves. */
export interface AccessLogPolicyOptions extends OptionsOf<typeof definition> {}
/** As a document says it. `undefined`: it does not. */
export interface AccessLogPolicy extends SettingsOf<typeof definition> {}
export const ACCESS_LOG: PolicyDefinition<AccessLogPolicyOptions, AccessLogPolicy> = definition

/** In a document: `false` for none. */
export const DOCUMENT_ACCESS_LOG: Field<AccessLogPolicy | false, AccessLogPolicyOptions | false> = either(
  exactly(false),
  ACCESS_LOG,
)

const option = definePolicy('accessLog', {
  /** Takes the lines. */
  log: instance<AccessLogTarget>('a logger such as one of pino (info and warn), or a function of a line', isTarget),
  /** Set false to log only what a document asks for. @defaultValue true */
  enabled: withDefault(flag(), true),
  ...definition.shape,
})

/**
 * The access log of this process. Documents say more, and their word counts first: see
 * docs/access-log.md.
 */
export interface AccessLogOptions extends OptionsOf<typeof option> {}
export interface AccessLogSettings extends SettingsOf<typeof option> {}
export const ACCESS_LOG_OPTION: PolicyDefinition<AccessLogOptions, AccessLogSettings> = option

function isTarget(value: unknown): boolean {
  if (typeof value === 'function') return true
  const { info, warn } = (value ?? {}) as { readonly info?: unknown; readonly warn?: unknown }
  return typeof info === 'function' && typeof warn === 'function'
}

/** A header to show. */
export interface LoggedHeader {
  readonly name: string
  /** Its value never is: the name says that it is a secret. */
  readonly secret: boolean
}

/** What is logged of one service. */
export interface LogRule {
  readonly sample: number
  readonly slowMs: number
  readonly headers: readonly LoggedHeader[]
}

/** `undefined`: nothing of this side. `document`: `undefined` if none says anything. */
export function logRule(
  side: LoggedSide,
  { enabled, ...option }: AccessLogSettings,
  document: AccessLogPolicy | false | undefined,
): LogRule | undefined {
  if (document === false || (document === undefined && !enabled)) return undefined
  const sides: readonly LoggedSide[] = document?.sides ?? option.sides ?? LOGGED_SIDES
  if (!sides.includes(side)) return undefined
  const headers = document?.headers ?? option.headers ?? []
  return {
    sample: document?.sample ?? option.sample ?? DEFAULT_SAMPLE,
    slowMs: document?.slowerThanMs ?? option.slowerThanMs ?? Number.POSITIVE_INFINITY,
    headers: headers.map((name) => ({ name, secret: isSecretHeader(name) })),
  }
}
