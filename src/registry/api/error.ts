/** How the registry refuses a request: a status, a stable code and a sentence. */
import { describeIssue, type Issue } from '../../options/fields.ts'
import { StorageError } from '../storage/errors.ts'

/**
 * Stable, as the API, the session and the audit log say them. Tokens: `token-missing`,
 * `token-unknown`, `token-used`, `token-expired`, `token-wrong-service`. Requests: `csr-invalid`,
 * `invalid-request`, `invalid-policy`, `too-large`, `too-slow`, `not-found`,
 * `method-not-allowed`, `conflict`, `expectation-failed`. Rights: `identity-required`,
 * `admin-required`, `identity-denied`, `foreign-service`, `host-refused`, `origin-refused`,
 * `address-refused`. Load: `rate-limited`, `overloaded`; `limit-exceeded` when asking again gives
 * the same answer. Ours: `storage-unavailable` (nothing was changed; try again), `internal`.
 */
export type ApiCode =
  | 'token-missing'
  | 'token-unknown'
  | 'token-used'
  | 'token-expired'
  | 'token-wrong-service'
  | 'csr-invalid'
  | 'invalid-request'
  | 'invalid-policy'
  | 'too-large'
  | 'too-slow'
  | 'not-found'
  | 'method-not-allowed'
  | 'conflict'
  | 'expectation-failed'
  | 'identity-required'
  | 'identity-denied'
  | 'admin-required'
  | 'foreign-service'
  | 'host-refused'
  | 'origin-refused'
  | 'address-refused'
  | 'rate-limited'
  | 'overloaded'
  | 'limit-exceeded'
  | 'storage-unavailable'
  | 'internal'

const STATUS: Readonly<Record<ApiCode, number>> = {
  'token-missing': 401,
  'token-unknown': 401,
  'token-used': 401,
  'token-expired': 401,
  'token-wrong-service': 403,
  'csr-invalid': 400,
  'invalid-request': 400,
  'invalid-policy': 422,
  'too-large': 413,
  'too-slow': 408,
  'not-found': 404,
  'method-not-allowed': 405,
  conflict: 409,
  'expectation-failed': 417,
  'identity-required': 401,
  'identity-denied': 403,
  'admin-required': 403,
  'foreign-service': 403,
  'host-refused': 421,
  'origin-refused': 403,
  'address-refused': 403,
  'rate-limited': 429,
  overloaded: 503,
  'limit-exceeded': 409,
  'storage-unavailable': 503,
  internal: 500,
}

export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly code: ApiCode
  readonly issues: readonly Issue[] | undefined

  constructor(code: ApiCode, message: string, issues?: readonly Issue[]) {
    super(message)
    this.code = code
    this.issues = issues
  }

  get status(): number {
    return STATUS[this.code]
  }

  toJSON(): { error: { code: ApiCode; message: string; issues?: readonly Issue[] } } {
    const { code, message, issues } = this
    return { error: { code, message, ...(issues === undefined ? {} : { issues }) } }
  }
}

/** Wrong input, with every mistake named. */
export function invalid(what: string, issues: readonly Issue[], code: ApiCode = 'invalid-request'): ApiError {
  return new ApiError(code, `${what}: ${issues.slice(0, 10).map(describeIssue).join('; ')}`, issues)
}

/**
 * The answer to a caller for any failure. A failure of ours shows only its kind, because its text
 * may name what no stranger should read.
 */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  if (error instanceof StorageError) {
    return new ApiError('storage-unavailable', 'the registry cannot write right now, so nothing was changed; try again')
  }
  return new ApiError('internal', 'the registry failed; its log says more')
}
