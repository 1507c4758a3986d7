/** Requests as a browser sends them from the page, or from another page, with a jar of cookies. */
import http from 'node:http'
import https from 'node:https'
import type { Registry } from '../../../src/registry/index.ts'

export interface Heard {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly json: any
}

export interface Sent {
  readonly method?: string
  readonly body?: unknown
  /** `undefined` leaves a header out that the page sends. */
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** Called when the answer begins. */
  readonly begun?: () => void
}

export class Visitor {
  cookie: string | undefined
  readonly origin: string
  readonly #roots: readonly string[]

  /** `url`: of the registry over TLS, or of its page in plain text. */
  constructor(registry: Registry, url: string = registry.url) {
    this.origin = new URL(url).origin
    this.#roots = registry.roots
  }

  /** From the page itself. */
  async send(path: string, { method, body, headers = {}, begun }: Sent = {}): Promise<Heard> {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const all: Record<string, string | undefined> = {
      'x-inmesh-ui': '1',
      'sec-fetch-site': 'same-origin',
      ...(this.cookie !== undefined && { cookie: this.cookie }),
      ...(payload !== undefined && {
        origin: this.origin,
        'content-type': 'application/json',
        'content-length': String(Buffer.byteLength(payload)),
      }),
      ...headers,
    }
    const sent = Object.fromEntries(Object.entries(all).filter((one): one is [string, string] => one[1] !== undefined))
    const wanted = method ?? (body === undefined ? 'GET' : 'POST')
    const heard = await this.#exchange(path, { method: wanted, headers: sent, agent: false }, payload, begun)
    const set = heard.headers['set-cookie']?.[0]?.split(';', 1)[0]
    if (set !== undefined) this.cookie = set.endsWith('=') ? undefined : set
    return heard
  }

  logIn(token: string, headers: Sent['headers'] = {}): Promise<Heard> {
    return this.send('/ui/login', { body: { token }, headers })
  }

  #exchange(
    path: string,
    options: http.RequestOptions,
    payload: string | undefined,
    begun?: () => void,
  ): Promise<Heard> {
    const { hostname, port, protocol } = new URL(this.origin)
    const target = { host: hostname, port, path, ...options }
    return new Promise((resolve, reject) => {
      const onResponse = (response: http.IncomingMessage): void => {
        begun?.()
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          const isJson = response.headers['content-type']?.startsWith('application/json') === true
          const { statusCode: status = 0, headers } = response
          resolve({ status, headers, text, json: isJson ? JSON.parse(text) : undefined })
        })
      }
      const request =
        protocol === 'https:'
          ? https.request({ ...target, ca: [...this.#roots], servername: 'localhost' }, onResponse)
          : http.request(target, onResponse)
      request.on('error', reject)
      request.end(payload)
    })
  }
}
