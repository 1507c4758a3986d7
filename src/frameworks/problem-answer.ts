/** What the plugins share when a problem document replaces the answer that a handler had begun. */
import { check, fields, flag, withDefault } from '../options/fields.ts'
import type { ProblemOptions } from '../server/http/problem.ts'

const FIELDS = fields({ expose: withDefault(flag(), false) })

/** @throws OptionsError naming each wrong option */
export function resolveProblem(options: ProblemOptions | undefined): ProblemOptions {
  return check(FIELDS, options, 'meshErrorHandler')
}

const OF_THE_BODY =
  /^(?:content-(?!security-policy)|etag$|last-modified$|cache-control$|expires$|transfer-encoding$|accept-ranges$)/i

/**
 * Whether a header speaks of a body that is not sent. Others stay: without those of CORS, a browser
 * shows its page no error.
 */
export function withoutBody(name: string): boolean {
  return OF_THE_BODY.test(name)
}
