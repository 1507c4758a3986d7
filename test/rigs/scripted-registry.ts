/**
 * A registry over real TLS and HTTP/2 that a test scripts, with messages and certificates that a
 * real one would not produce. Unscripted, it behaves like a real registry.
 */
import { createPublicKey } from 'node:crypto'
import http2 from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { Instance } from '../../src/discovery/instance.ts'
import type { ClientMessage, ServerMessage } from '../../src/discovery/registry/wire.ts'
import { issueCertificate } from '../../src/identity/certificate.ts'
import { privateKeyPem } from '../../src/identity/key.ts'
import { readSigningRequest } from '../../src/identity/signing-request.ts'
import { registryId, serviceId } from '../../src/identity/spiffe-id.ts'
import { newAuthority, newBundle, newKey, TRUST_DOMAIN } from './certificates.ts'

const HOUR_MS = 3_600_000

interface ScriptedSession {
  readonly service: string
  readonly stream: http2.ServerHttp2Stream
  readonly watched: Set<string>
}

export class ScriptedRegistry {
  readonly authority = newAuthority()
  readonly sessions = new Set<ScriptedSession>()
  readonly instances = new Map<string, Instance>()
  readonly policies = new Map<string, unknown>([['mesh', { service: 'mesh', defaultIntention: 'allow' }]])
  /** The services of all watches, as they were asked for. */
  readonly asked: string[] = []
  /** More fields of its greetings. */
  readonly greeting: Record<string, unknown> = {}
  /** The greetings and traffic of processes, by service. */
  readonly heard: { readonly service: string; readonly message: ClientMessage }[] = []
  readonly #server: http2.Http2SecureServer
  readonly #open = new Set<http2.ServerHttp2Session>()
  #revision = 1

  constructor() {
    const { privateKey, publicKey } = newKey()
    const now = Date.now()
    const cert = issueCertificate(this.authority, {
      publicKey,
      spiffeId: registryId(TRUST_DOMAIN),
      notBefore: now - 60_000,
      notAfter: now + HOUR_MS,
      ipAddresses: ['127.0.0.1'],
    })
    this.#server = http2.createSecureServer({
      key: privateKeyPem(privateKey),
      cert: `${cert.trimEnd()}\n${this.authority.certificate}`,
      ca: [this.authority.certificate],
      allowHTTP1: true,
      minVersion: 'TLSv1.3',
      requestCert: true,
      rejectUnauthorized: false,
    })
    this.#server.on('session', (session) => {
      this.#open.add(session)
      session.on('error', () => {})
      session.on('close', () => this.#open.delete(session))
    })
    this.#server.on('stream', (stream, headers) => {
      if (headers[':path'] === '/v1/session') this.#session(stream)
    })
    this.#server.on('request', (request, response) => {
      if (request.httpVersionMajor === 2) return
      let body = ''
      request.on('data', (chunk: Buffer) => {
        body += chunk
      })
      request.on('end', () => response.end(JSON.stringify(this.#issue(JSON.parse(body)))))
    })
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return this
  }

  get url(): string {
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** As if `instance` had registered itself. */
  put(instance: Instance): void {
    this.instances.set(instance.id, instance)
    this.#revision += 1
    for (const session of this.sessions)
      if (session.watched.has(instance.service)) this.#tell(session, instance.service)
  }

  /** Says exactly this on every session of `service`. */
  say(service: string, text: string): void {
    for (const session of this.sessions) if (session.service === service) session.stream.write(text)
  }

  snapshotOf(service: string): Extract<ServerMessage, { type: 'snapshot' }> {
    return {
      type: 'snapshot',
      service,
      epoch: 'scripted',
      revision: this.#revision,
      instances: [...this.instances.values()].filter((instance) => instance.service === service),
      policy: this.policies.get(service) ?? null,
      intended: false,
      frozen: false,
    }
  }

  async close(): Promise<void> {
    for (const session of this.#open) session.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  #session(stream: http2.ServerHttp2Stream): void {
    stream.on('error', () => {})
    stream.respond({ ':status': 200 })
    let session: ScriptedSession | undefined
    let rest = ''
    stream.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString()).split('\n')
      rest = lines.pop()!
      for (const line of lines) {
        const message = JSON.parse(line) as ClientMessage
        if (message.type === 'hello' || message.type === 'traffic') {
          this.heard.push({ service: message.type === 'hello' ? message.service : session!.service, message })
        }
        if (message.type === 'hello') {
          session = { service: message.service, stream, watched: new Set() }
          this.sessions.add(session)
          const welcome = { type: 'welcome', protocol: 1, epoch: 'scripted', leaseMs: 15_000, beatMs: 5_000 }
          stream.write(`${JSON.stringify({ ...welcome, wallNow: Date.now(), dev: false, ...this.greeting })}\n`)
        } else if (session !== undefined) this.#answer(session, message)
      }
    })
    stream.on('close', () => {
      if (session !== undefined) this.sessions.delete(session)
    })
  }

  #answer(session: ScriptedSession, message: ClientMessage): void {
    if (message.type === 'watch') {
      session.watched.add(message.service)
      this.asked.push(message.service)
      this.#tell(session, message.service)
    }
    if (message.type === 'register') this.put(message.instance)
    if (message.type === 'drain' || message.type === 'deregister') this.instances.delete(message.id)
    if ('ref' in message) {
      session.stream.write(`${JSON.stringify({ type: 'done', ref: message.ref, revision: this.#revision })}\n`)
    }
  }

  #tell(session: ScriptedSession, service: string): void {
    session.stream.write(`${JSON.stringify(this.snapshotOf(service))}\n`)
  }

  #issue({ service, csr }: { service: string; csr: string }) {
    const now = Date.now()
    const certificate = issueCertificate(this.authority, {
      publicKey: createPublicKey(readSigningRequest(csr).export({ type: 'spki', format: 'pem' })),
      spiffeId: serviceId(TRUST_DOMAIN, service),
      notBefore: now - 60_000,
      notAfter: now + HOUR_MS,
    })
    return { ...newBundle([this.authority.certificate], 1), certificate, wallNow: now }
  }
}
