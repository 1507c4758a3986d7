/**
 * Clients of a registry for tests, on raw sockets: joining, plain requests over HTTP/1.1, and a
 * session over HTTP/2.
 */
import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import http2 from 'node:http2'
import https from 'node:https'
import type { Instance } from '../../src/discovery/instance.ts'
import type { ClientMessage, ServerMessage } from '../../src/discovery/registry/wire.ts'
import type { JoinResponse } from '../../src/identity/issued-certificate.ts'
import { createSigningRequest } from '../../src/identity/signing-request.ts'
import type { Registry } from '../../src/registry/index.ts'

export interface Credentials {
  readonly key: string
  readonly cert: string
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly json: any
}

export interface RequestOptions {
  readonly body?: unknown
  readonly raw?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly credentials?: Credentials
  readonly admin?: boolean
}

/** One request over HTTP/1.1. */
export function request(
  registry: Registry,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Answer> {
  const { body, raw, headers = {}, credentials, admin = false } = options
  const payload = raw ?? (body === undefined ? undefined : JSON.stringify(body))
  return new Promise((resolve, reject) => {
    const outgoing = https.request(
      new URL(registry.url),
      {
        method,
        // As it is; a URL would make it plain.
        path,
        agent: false,
        ca: [...registry.roots],
        servername: 'localhost',
        ...credentials,
        headers: {
          ...(payload === undefined ? {} : { 'content-length': String(Buffer.byteLength(payload)) }),
          ...(admin ? { authorization: `Bearer ${registry.adminToken}` } : {}),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          let json: unknown
          try {
            json = JSON.parse(text)
          } catch {
            json = undefined
          }
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text, json })
        })
      },
    )
    outgoing.on('error', reject)
    outgoing.end(payload)
  })
}

export function newKey(): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
}

export function csrOf(key: string): string {
  return createSigningRequest(createPrivateKey(key))
}

export async function join(registry: Registry, service: string, token?: string): Promise<Credentials> {
  const key = newKey()
  const joinToken = token ?? (registry.dev ? undefined : await registry.createJoinToken({ service }))
  const answer = await request(registry, 'POST', '/v1/join', { body: { service, csr: csrOf(key), token: joinToken } })
  if (answer.status !== 200) throw new Error(`join: ${answer.text}`)
  return { key, cert: (answer.json as JoinResponse).certificate }
}

type OfType<T extends ServerMessage['type']> = Extract<ServerMessage, { type: T }>

/** A session, with everything it received. */
export class TestSession {
  readonly received: ServerMessage[] = []
  /** `undefined` while open. */
  closed = false
  readonly #client: http2.ClientHttp2Session
  readonly #stream: http2.ClientHttp2Stream
  readonly #waiting = new Set<() => void>()
  #ref = 0
  status: number | undefined
  /** Heartbeats, as a living process sends them. */
  readonly #beating = setInterval(() => {
    if (this.#beats && !this.closed) this.send({ type: 'beat' })
  }, 100).unref()
  #beats = false

  constructor(
    registry: Registry,
    credentials: Credentials | undefined,
    service: string | undefined,
    greeting: Partial<Extract<ClientMessage, { type: 'hello' }>> = {},
  ) {
    this.#client = http2.connect(registry.url, { ca: [...registry.roots], servername: 'localhost', ...credentials })
    this.#client.on('error', () => this.#end())
    this.#stream = this.#client.request({ ':method': 'POST', ':path': '/v1/session' }, { endStream: false })
    this.#stream.on('error', () => this.#end())
    this.#stream.on('close', () => this.#end())
    this.#stream.on('response', (headers) => {
      this.status = headers[':status']
      this.#wake()
    })
    let rest = ''
    this.#stream.setEncoding('utf8')
    this.#stream.on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!
      for (const line of lines) this.received.push(JSON.parse(line))
      this.#wake()
    })
    if (service !== undefined) this.send({ type: 'hello', protocol: 1, service, process: 'test', ...greeting })
  }

  /** `greeting`: what its hello says besides, or instead. */
  static async open(
    registry: Registry,
    service: string,
    credentials?: Credentials,
    greeting?: Partial<Extract<ClientMessage, { type: 'hello' }>>,
  ): Promise<TestSession> {
    const session = new TestSession(registry, credentials ?? (await join(registry, service)), service, greeting)
    await session.next('welcome')
    session.#beats = true
    return session
  }

  send(message: ClientMessage): void {
    this.sendRaw(`${JSON.stringify(message)}\n`)
  }

  sendRaw(text: string | Buffer): void {
    this.#stream.write(text)
  }

  /** The first message of this kind that came after `from` messages, now or later. */
  async next<T extends ServerMessage['type']>(
    type: T,
    fits: (message: OfType<T>) => boolean = () => true,
    from = 0,
  ): Promise<OfType<T>> {
    const find = (): OfType<T> | undefined =>
      this.received.slice(from).find((one): one is OfType<T> => one.type === type && fits(one as OfType<T>))
    await this.until(() => find() !== undefined || this.closed)
    const found = find()
    if (found === undefined) throw new Error(`closed without ${type}: ${JSON.stringify(this.received)}`)
    return found
  }

  async until(fits: () => boolean, timeoutMs = 30_000): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (!fits()) {
      if (Date.now() > deadline)
        throw new Error(`not in time: ${fits}: ${JSON.stringify(this.received).slice(0, 2_000)}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 100)
        this.#waiting.add(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  /** The answer to a register, drain or deregister. */
  async ask(
    message: { type: 'register'; instance: Instance } | { type: 'drain' | 'deregister'; id: string },
  ): Promise<OfType<'done'> | OfType<'error'>> {
    const ref = ++this.#ref
    this.send({ ...message, ref } as ClientMessage)
    const answers = (): (OfType<'done'> | OfType<'error'>)[] =>
      this.received.filter((one) => one.type === 'done' || one.type === 'error').filter((one) => one.ref === ref)
    await this.until(() => answers().length > 0 || this.closed)
    return answers()[0]!
  }

  /** Resolves when the registry has heard it; does nothing while it is silent. */
  async beat(): Promise<void> {
    if (this.#beats && !this.closed) await this.ask({ type: 'deregister', id: 'none' })
  }

  /** No heartbeat any more, as a process that hangs. */
  silence(): void {
    this.#beats = false
  }

  /** Heartbeats again, as a process that goes on. */
  recover(): void {
    this.#beats = true
    this.send({ type: 'beat' })
  }

  /** Stops reading, as a process that hangs. */
  pause(): void {
    this.#stream.pause()
  }

  resume(): void {
    this.#stream.resume()
  }

  close(): void {
    this.#stream.close()
    this.#client.destroy()
    this.#end()
  }

  #end(): void {
    this.closed = true
    clearInterval(this.#beating)
    this.#wake()
    if (!this.#client.destroyed) this.#client.destroy()
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake()
    this.#waiting.clear()
  }
}
