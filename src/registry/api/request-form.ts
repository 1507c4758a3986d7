/**
 * Validates the request head before authorization. Rejects anything two parsers could read
 * differently.
 */
import { ApiError } from './error.ts'
import type { IncomingRequest } from './request.ts'

/** Node keeps the first of them and drops the others in silence. */
const ONCE = ['host', ':authority', 'authorization', 'content-type'] as const

/** @throws ApiError `invalid-request` */
export function checkForm(request: IncomingRequest): void {
  const { rawHeaders, headers, httpVersionMajor: major, httpVersionMinor: minor } = request
  for (const name of ONCE) {
    if (countOf(rawHeaders, name) > 1) throw malformed(`the header ${name} is there more than once`)
  }
  const { host, 'transfer-encoding': encoding } = headers
  const authority = headers[':authority']
  if (host !== undefined && authority !== undefined && host.toLowerCase() !== String(authority).toLowerCase()) {
    throw malformed('the headers host and :authority differ')
  }
  if (major > 1) return
  // Node's parser reads HTTP/0.9 and HTTP/2.0 by the rules of HTTP/1.0.
  if (major !== 1) throw malformed('only HTTP/1.1 and HTTP/1.0 are accepted')
  if (encoding === undefined) return
  if (minor === 0 || encoding.trim().toLowerCase() !== 'chunked' || headers['content-length'] !== undefined) {
    throw malformed(
      'the length of the body is ambiguous: send Content-Length or, over HTTP/1.1, `Transfer-Encoding: chunked`, not both',
    )
  }
}

function countOf(rawHeaders: readonly string[], name: string): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2) if (rawHeaders[i]!.toLowerCase() === name) count += 1
  return count
}

function malformed(message: string): ApiError {
  return new ApiError('invalid-request', message)
}
