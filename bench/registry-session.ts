/** A minimal session with a registry, so that a thousand of them fit into one process. */
import http2, { type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2'
import { createSecureContext } from 'node:tls'
import type { Instance } from '../src/discovery/instance.ts'
import type { ClientMessage } from '../src/discovery/registry/wire.ts'
import type { Credentials } from '../test/rigs/registry-session.ts'
import type { RegistryReady } from './testbed.ts'

let opened = 0

/** A session that does as little as possible with what it hears. */
export class Session {
  readonly #client: ClientHttp2Session
  readonly #stream: ClientHttp2Stream
  readonly #answers = new Map<number, (error: string | undefined) => void>()
  readonly ready: Promise<void>
  #rest = ''
  #ref = 0
  /** Told of every message that is no answer. */
  heard: (line: string) => void = () => {}
  /** Called when the registry has gone. */
  lost: () => void = () => {}

  constructor(registry: RegistryReady, credentials: Credentials, service: string) {
    const secureContext = contextOf(registry, credentials)
    this.#client = http2.connect(registry.url, { secureContext, servername: 'localhost' })
    this.#stream = this.#client.request({ ':method': 'POST', ':path': '/v1/session' }, { endStream: false })
    this.#stream.setEncoding('utf8')
    this.ready = new Promise((resolve, reject) => {
      this.#client.on('error', reject)
      this.#stream.on('error', reject)
      this.#client.on('close', () => this.lost())
      this.#stream.on('data', (text: string) => {
        const lines = (this.#rest + text).split('\n')
        this.#rest = lines.pop()!
        for (const line of lines) {
          if (line.startsWith('{"type":"welcome"')) resolve()
          else if (line.startsWith('{"type":"done"')) this.#answer(line)
          else if (line.startsWith('{"type":"error"')) this.#answer(line)
          else this.heard(line)
        }
      })
    })
    this.send({ type: 'hello', protocol: 1, service, process: `bench-${++opened}`, traffic: true })
  }

  send(message: ClientMessage): void {
    this.#stream.write(`${JSON.stringify(message)}\n`)
  }

  register(instance: Instance): Promise<void> {
    const ref = ++this.#ref
    this.send({ type: 'register', ref, instance })
    return new Promise((resolve, reject) => {
      this.#answers.set(ref, (error) => (error === undefined ? resolve() : reject(new Error(error))))
    })
  }

  close(): void {
    this.lost = () => {}
    this.#client.removeAllListeners('error').on('error', () => {})
    this.#stream.removeAllListeners('error').on('error', () => {})
    this.#client.destroy()
  }

  #answer(line: string): void {
    const { type, ref } = JSON.parse(line) as { type: string; ref?: number }
    if (ref === undefined) throw new Error(line)
    this.#answers.get(ref)!(type === 'done' ? undefined : line)
    this.#answers.delete(ref)
  }
}

const contexts = new Map<string, ReturnType<typeof createSecureContext>>()

function contextOf(registry: RegistryReady, { key, cert }: Credentials): ReturnType<typeof createSecureContext> {
  let context = contexts.get(cert)
  if (context === undefined) {
    context = createSecureContext({ key, cert, ca: [...registry.roots] })
    contexts.set(cert, context)
  }
  return context
}

/** Sessions in groups, so that no handshake waits for too many others. */
export async function openSessions(
  told: RegistryReady,
  n: number,
  credentials: (i: number) => readonly [string, Credentials],
): Promise<Session[]> {
  const sessions: Session[] = []
  for (let i = 0; i < n; i += 25) {
    const group = Array.from({ length: Math.min(25, n - i) }, (_, j) => {
      const [service, own] = credentials(i + j)
      return new Session(told, own, service)
    })
    await Promise.all(group.map((session) => session.ready))
    sessions.push(...group)
  }
  return sessions
}
