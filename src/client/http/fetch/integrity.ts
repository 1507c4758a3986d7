/** Subresource Integrity (W3C) for `mesh.fetch`: the body must match one of the caller's hashes. */
import { createHash } from 'node:crypto'
import { OptionsError, show } from '../../../options/fields.ts'

/** The hashes that count: those of the strongest algorithm named. */
export interface Integrity {
  readonly algorithm: string
  readonly hashes: readonly string[]
}

/** The weakest first. */
const ALGORITHMS = ['sha256', 'sha384', 'sha512']
const HASH = /^(sha256|sha384|sha512)-([A-Za-z0-9+/_-]+={0,2})(?:\?.*)?$/i

/**
 * Takes what the standard takes, but for text without any hash, which the standard passes over.
 * @throws OptionsError
 */
export function parseIntegrity(text: string): Integrity {
  let strongest = -1
  let hashes: string[] = []
  for (const token of text.split(/[\t\n\f\r ]+/)) {
    const match = HASH.exec(token)
    if (match === null) continue
    const strength = ALGORITHMS.indexOf(match[1]!.toLowerCase())
    if (strength < strongest) continue
    if (strength > strongest) hashes = []
    strongest = strength
    hashes.push(bare(match[2]!))
  }
  if (strongest < 0) {
    throw new OptionsError('fetch', [
      { path: ['integrity'], message: `expected hashes such as 'sha256-…' in base64, got ${show(text)}` },
    ])
  }
  return { algorithm: ALGORITHMS[strongest]!, hashes }
}

/** The answer, once its body is here and has the hash. @throws TypeError if it has another */
export async function withIntegrity(response: Response, integrity: Integrity): Promise<Response> {
  const bytes = await response.clone().bytes()
  const hash = bare(createHash(integrity.algorithm).update(bytes).digest('base64'))
  if (integrity.hashes.includes(hash)) return response
  await response.body?.cancel()
  throw new TypeError(
    `the body of ${response.url} is not what integrity says: its hash is ${integrity.algorithm}-${hash}`,
  )
}

/** Padding and alphabet do not matter. */
function bare(base64: string): string {
  let end = base64.length
  while (base64[end - 1] === '=') end -= 1
  return base64.slice(0, end).replaceAll('-', '+').replaceAll('_', '/')
}
