/**
 * One short request to the registry, bounded in time and in the length of its answer. It has a
 * connection for itself, unless the caller keeps some.
 */
import https from 'node:https'
import type { Clock } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { verifyingOptions } from '../../identity/tls-options.ts'
import { markOwn } from '../../net/own.ts'
import { labelOf, lookupOf, type RegistryTarget } from './target.ts'

/** In bytes: above a certificate with a trust bundle as full as it may be. */
const LONGEST_ANSWER = 2 * 1024 * 1024

/** What TLS needs to be sure that it is the registry, with our own certificate if we have one. */
export type RegistryTls = ReturnType<typeof verifyingOptions>

export interface RegistryAnswer {
  readonly status: number
  /** The body, if it was a JSON object; otherwise empty. */
  readonly body: Readonly<Record<string, unknown>>
}

/**
 * A POST if there is a `body`. @throws MeshError `registry-unavailable`, or the refusal of the
 * identity that answered
 */
export function askRegistry(
  target: RegistryTarget,
  tls: RegistryTls,
  path: string,
  body: object | undefined,
  clock: Clock,
  timeoutMs = 5_000,
  signal?: AbortSignal,
  longest: number = LONGEST_ANSWER,
  agent = markOwn(new https.Agent()),
): Promise<RegistryAnswer> {
  return new Promise((resolve, reject) => {
    const fail = (reason: string, cause?: unknown): void => {
      clock.stopTimer(timer)
      signal?.removeEventListener('abort', abandon)
      request.destroy()
      // A refused identity is no unavailable registry, which would be tried again.
      reject(
        cause instanceof MeshError
          ? cause
          : new MeshError(`no answer from ${labelOf(target)}${path}: ${reason}`, {
              code: 'registry-unavailable',
              endpoint: labelOf(target),
              cause,
            }),
      )
    }
    const abandon = (): void => fail('the answer is no longer needed')
    const timer = clock.startTimer(timeoutMs, () => fail(`nothing within ${Math.round(timeoutMs)} ms`), undefined)
    const text = body === undefined ? undefined : JSON.stringify(body)
    const request = https.request(new URL(path, target.url), {
      ...(tls as https.RequestOptions),
      ...lookupOf(target),
      method: text === undefined ? 'GET' : 'POST',
      agent,
      headers:
        text === undefined
          ? {}
          : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(text)) },
    })
    signal?.addEventListener('abort', abandon, { once: true })
    // The timer decides whether the process is kept alive.
    request.on('socket', (socket) => socket.unref())
    request.on('error', (error) => fail(error.message, error))
    request.on('response', (response) => {
      const parts: Buffer[] = []
      let size = 0
      response.on('data', (part: Buffer) => {
        size += part.length
        if (size > longest) fail('the answer is too long')
        else parts.push(part)
      })
      response.on('error', (error) => fail(error.message, error))
      response.on('end', () => {
        clock.stopTimer(timer)
        signal?.removeEventListener('abort', abandon)
        resolve({ status: response.statusCode ?? 0, body: objectIn(Buffer.concat(parts).toString('utf8')) })
      })
    })
    request.end(text)
  })
}

/** The registry's own words of a refusal, short: ` (code): message`. */
export function refusalOf({ status, body }: RegistryAnswer): string {
  const error = (typeof body.error === 'object' && body.error !== null ? body.error : {}) as Record<string, unknown>
  const said = typeof error.message === 'string' ? error.message.slice(0, 500) : `status ${status}`
  const code = refusalCodeOf({ status, body })
  return `${code === undefined ? '' : ` (${code})`}: ${said}`
}

/** The code of a refusal, if the registry gave one. */
export function refusalCodeOf({ body }: RegistryAnswer): string | undefined {
  const { code } = (typeof body.error === 'object' && body.error !== null ? body.error : {}) as { code?: unknown }
  return typeof code === 'string' ? code.slice(0, 64) : undefined
}

/** Whether the same question may be answered a little later. */
export function isPassing({ status }: RegistryAnswer): boolean {
  return status >= 500 || status === 429
}

/** The JSON object in a text; an empty one if it has none. */
export function objectIn(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
