/**
 * The commands' client of the registry's API: one request per connection, within 10 s. The admin
 * token is sent only over a connection verified against the root that it pins; without one, only
 * loopback is trusted.
 */
import { type IncomingMessage, request as requestPlain } from 'node:http'
import { type RequestOptions, request as requestTls } from 'node:https'
import { systemClock } from '../core/clock.ts'
import { isMeshError } from '../core/errors.ts'
import { pinnedTlsOptions, unpinnedTlsOptions } from '../identity/first-contact.ts'
import { parseToken } from '../identity/join-token.ts'
import type { Issue } from '../options/fields.ts'
import { EXIT, Failure } from './failure.ts'
import { type Tell, tellIfSlow } from './patience.ts'

export const REQUEST_TIMEOUT_MS = 10_000
/** Of an answer: 10,000 instances are about 4 MiB. */
const LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
const LOOPBACK = /^(?:127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|\[::1\])$/

export function isLoopbackUrl(url: URL): boolean {
  return LOOPBACK.test(url.hostname)
}

export interface RegistryAddress {
  readonly url: URL
  /** `inmesh-admin.…`; `undefined` with a `--dev` registry. */
  readonly token: string | undefined
  /** Verifies the registry by this root, and sends no token. */
  readonly pin?: string
  /** The token was found, not given: if it belongs to another registry, go on without it. */
  readonly tokenIsGuess?: boolean
}

export type ApiMethod = 'GET' | 'PUT' | 'POST' | 'DELETE'

/** Statuses of invalid requests. */
const INVALID: ReadonlySet<number> = new Set([400, 413, 422])

/** The registry refused. Each path of `issues` begins with the document. */
export class RegistryRefusal extends Failure {
  readonly status: number
  readonly remoteIssues: readonly Issue[]

  constructor(status: number, code: string, message: string, remoteIssues: readonly Issue[]) {
    super(INVALID.has(status) ? EXIT.invalid : EXIT.failed, code, message)
    this.status = status
    this.remoteIssues = remoteIssues
  }
}

export class RegistryApi {
  readonly #address: RegistryAddress
  /** `undefined` once it has answered: a screen may be drawn by then. */
  #tell: Tell | undefined

  /** `tell`: of a slow first answer. @throws Failure if the address must not be trusted as given */
  constructor(address: RegistryAddress, tell?: Tell) {
    const { url, pin, tokenIsGuess } = address
    const plain = url.protocol === 'http:'
    const token = plain && tokenIsGuess === true ? undefined : address.token
    const loopback = isLoopbackUrl(url)
    if (plain && !loopback) {
      throw new Failure(EXIT.invalid, 'insecure-registry', `${url.origin}: plain http is for loopback addresses only`)
    }
    if (plain && (token ?? pin) !== undefined) {
      const wanted = `give https://${url.host}`
      throw new Failure(EXIT.invalid, 'insecure-registry', `${url.origin}: no token is sent over plain http; ${wanted}`)
    }
    if (token === undefined && pin === undefined && !loopback) {
      const wanted = 'give --token, INMESH_ADMIN_TOKEN, or --data-dir of a registry on this machine'
      throw new Failure(EXIT.invalid, 'token-missing', `${url.origin} needs an admin token: ${wanted}`)
    }
    this.#address = { ...address, token }
    this.#tell = tell
  }

  /** `signal` gives up. */
  get<T>(path: string, signal?: AbortSignal): Promise<T> {
    return this.#call('GET', path, undefined, {}, signal)
  }

  get url(): string {
    return this.#address.url.origin
  }

  /**
   * @throws Failure with exit code 3 if there is no answer
   * @throws RegistryRefusal if the answer is an error
   */
  call<T>(method: ApiMethod, path: string, body?: unknown, ifVersion?: number): Promise<T> {
    return this.#call(method, path, body, preconditionOf(ifVersion))
  }

  async #call<T>(
    method: ApiMethod,
    path: string,
    body: unknown,
    precondition: Readonly<Record<string, string>>,
    given?: AbortSignal,
  ): Promise<T> {
    const { url } = this.#address
    const { status, text } = await this.#first(send(this.#address, method, path, body, precondition, given))
    const answer = parse(text)
    if (status >= 200 && status < 300) {
      if (typeof answer !== 'object' || answer === null) throw unreadable(url)
      return answer as T
    }
    throw refusal(url, status, text)
  }

  /**
   * The body of a long answer to a POST, as it comes.
   *
   * `signal` ends it without an error.
   *
   * @throws Failure as `call`, also when the answer stops coming
   */
  async *stream(path: string, body: unknown, signal?: AbortSignal): AsyncGenerator<Buffer> {
    const { url } = this.#address
    let response: IncomingMessage
    try {
      const opening = open(this.#address, 'POST', path, { body, ...(signal !== undefined && { signal }) })
      response = await this.#first(opening)
    } catch (error) {
      if (signal?.aborted === true) return
      throw error
    }
    try {
      if (response.statusCode !== 200) throw refusal(url, response.statusCode ?? 0, await textOf(url, response))
      for await (const part of response) yield part as Buffer
    } catch (error) {
      if (signal?.aborted === true) return
      throw error instanceof Failure ? error : unreachable(url, reasonOf(error))
    } finally {
      response.destroy()
    }
  }

  /** For what is no JSON. */
  probe(path: string): Promise<{ status: number; text: string }> {
    return this.#first(send(this.#address, 'GET', path, undefined))
  }

  async #first<T>(answer: Promise<T>): Promise<T> {
    const tell = this.#tell
    if (tell === undefined) return await answer
    const answered = await tellIfSlow(tell, `the registry at ${this.url}`, answer)
    this.#tell = undefined
    return answered
  }
}

function refusal(url: URL, status: number, text: string): Failure {
  const error = (parse(text) as { error?: { code?: unknown; message?: unknown; issues?: unknown } } | undefined)?.error
  if (typeof error?.code !== 'string') return unreadable(url, status)
  return new RegistryRefusal(status, error.code, String(error.message ?? error.code), readIssues(error.issues))
}

/** 0: there must be none. */
function preconditionOf(version: number | undefined): Readonly<Record<string, string>> {
  if (version === undefined) return {}
  return version === 0 ? { 'if-none-match': '*' } : { 'if-match': `"${version}"` }
}

async function send(
  address: RegistryAddress,
  method: ApiMethod,
  path: string,
  body: unknown,
  precondition: Readonly<Record<string, string>> = {},
  given?: AbortSignal,
): Promise<{ status: number; text: string }> {
  const late = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
  const signal = given === undefined ? late : AbortSignal.any([late, given])
  const { url } = address
  try {
    const response = await open(address, method, path, { body, precondition, signal })
    return { status: response.statusCode ?? 0, text: await textOf(url, response) }
  } catch (error) {
    if (error instanceof Failure && !signal.aborted) throw error
    throw unreachable(url, late.aborted ? NO_ANSWER : reasonOf(error))
  }
}

export const NO_ANSWER = `no answer within ${REQUEST_TIMEOUT_MS / 1000} s`

interface Sending {
  readonly body?: unknown
  readonly precondition?: Readonly<Record<string, string>>
  /** Of the whole answer. */
  readonly signal?: AbortSignal
}

/** Resolves with the head of the answer; silence of 10 s ends it. */
async function open(
  address: RegistryAddress,
  method: ApiMethod,
  path: string,
  { body, precondition, signal }: Sending = {},
): Promise<IncomingMessage> {
  const url = new URL(path, address.url)
  const payload = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
  const { token, tls } = url.protocol === 'https:' ? await trust(address) : { token: address.token, tls: {} }
  const options: RequestOptions = {
    ...tls,
    method,
    agent: false,
    timeout: REQUEST_TIMEOUT_MS,
    ...(signal !== undefined && { signal }),
    headers: {
      accept: 'application/json',
      ...precondition,
      ...(token !== undefined && { authorization: `Bearer ${token.trim()}` }),
      ...(payload !== undefined && { 'content-type': 'application/json', 'content-length': payload.length }),
    },
  }
  return await new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? requestTls : requestPlain)(url, options, resolve)
    request.on('timeout', () => request.destroy(new Error(NO_ANSWER)))
    request.on('error', (error) => reject(unreachable(url, reasonOf(error))))
    request.end(payload)
  })
}

async function textOf(url: URL, response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response) {
    size += (chunk as Buffer).length
    if (size > LARGEST_ANSWER_BYTES) throw tooLarge(url)
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks).toString()
}

/** How the connection is verified, and which token may be sent over it. */
async function trust(address: RegistryAddress): Promise<{ token: string | undefined; tls: RequestOptions }> {
  const { url, token, pin } = address
  const at = {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 443 : Number(url.port),
    clock: systemClock,
  }
  try {
    if (pin !== undefined) return { token: undefined, tls: (await pinnedTlsOptions({ ...at, fingerprint: pin })).tls }
    // Without a token it is loopback (see the constructor), and nothing secret is sent.
    if (token === undefined) return { token, tls: (await unpinnedTlsOptions(at)).tls }
    return { token, tls: (await pinnedTlsOptions({ ...at, fingerprint: adminFingerprint(token) })).tls }
  } catch (error) {
    if (error instanceof Failure) throw error
    if (!isMeshError(error) || error.code !== 'identity-rejected') throw unreachable(url, reasonOf(error))
    if (token !== undefined && address.tokenIsGuess === true) return await trust({ url, token: undefined })
    throw new Failure(EXIT.failed, 'identity-rejected', error.message)
  }
}

function adminFingerprint(token: string): string {
  const parsed = parseToken(token)
  if (parsed?.kind === 'admin') return parsed.fingerprint
  const got = parsed === undefined ? 'this is none' : `this is a ${parsed.kind} token`
  throw new Failure(EXIT.invalid, 'invalid-token', `expected an admin token ('inmesh-admin.…'); ${got}`)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function readIssues(value: unknown): readonly Issue[] {
  if (!Array.isArray(value)) return []
  return value.slice(0, 200).flatMap((issue: { path?: unknown; message?: unknown } | null) =>
    Array.isArray(issue?.path) && typeof issue.message === 'string'
      ? [
          {
            path: issue.path.map((step: unknown) => (typeof step === 'number' ? step : String(step))),
            message: issue.message,
          },
        ]
      : [],
  )
}

function reasonOf(error: unknown): string {
  const { code, message = '' } = error as { code?: string; message?: string }
  const [, unresolved] = /getaddrinfo (E\w+)/.exec(message) ?? []
  if (unresolved !== undefined) return `its name cannot be resolved (${unresolved})`
  if (code === 'ECONNRESET' && message === 'aborted') return 'the answer broke off'
  // `connect` to a name with several addresses: an AggregateError without a message.
  return message.replace(/^The registry at \S+ could not be reached: /, '') || (code ?? 'the connection failed')
}

function unreachable(url: URL, why: string): Failure {
  const message = `no answer from the registry at ${url.origin}: ${why.replace(/\.$/, '')}`
  return new Failure(EXIT.unreachable, 'registry-unreachable', message)
}

function tooLarge(url: URL): Failure {
  const most = `${LARGEST_ANSWER_BYTES / 1024 / 1024} MiB`
  return new Failure(EXIT.failed, 'unexpected-answer', `${url.origin} answered with more than ${most}`)
}

function unreadable(url: URL, status?: number): Failure {
  const what = status === undefined ? 'something that is not JSON' : `HTTP ${status} without an error of the registry`
  return new Failure(EXIT.failed, 'unexpected-answer', `${url.origin} answered ${what}; is it an inmesh registry?`)
}
