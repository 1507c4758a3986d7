/**
 * One process's session, a stream of messages each way. A session owns the instances it registers:
 * they stay listed while it is heard, and for one lease after its end.
 */
import type { ServerHttp2Stream } from 'node:http2'
import type { Timer } from '../core/clock.ts'
import type { Instance } from '../discovery/instance.ts'
import { readInstance } from '../discovery/instance-reader.ts'
import { LIMITS } from '../discovery/limits.ts'
import { readDemand } from '../discovery/registry/demand-reader.ts'
import { LineReader } from '../discovery/registry/line-reader.ts'
import { commonProtocol, type ServerMessage } from '../discovery/registry/wire.ts'
import type { QuotaLease } from '../resilience/limits/global-rate-limit.ts'
import { ApiError } from './api/error.ts'
import type { InstanceOwner } from './instance-owners.ts'
import type { RemovalReason } from './leases.ts'
import type { QuotaSession } from './quotas/participants.ts'
import type { Registrant } from './registrar.ts'
import { SeenNotices } from './seen-notices.ts'
import type { SessionHost } from './session-host.ts'
import { nameOf, readMessage, type SessionMessage, sinceOf } from './session-message.ts'
import { SessionRequests } from './session-requests.ts'
import type { TapSession } from './tap/tap-hub.ts'
import type { TrafficSession } from './traffic/processes.ts'
import type { Watcher } from './watch/watcher.ts'

const HELLO_TIMEOUT_MS = 5_000
/** From the last words to the end of the stream, whether or not they were read. */
const CLOSE_MS = 1_000
/** Of a heartbeat, between two renewals of its leases. */
const RENEWED_SHARE = 0.05
/** From this one on a process can be sent away gently. */
const MOVING_PROTOCOL = 2

export class Session implements Watcher, InstanceOwner, QuotaSession, TrafficSession, TapSession {
  readonly acknowledges = true
  readonly who: Registrant
  process: string | undefined = undefined
  /** Wall clock, ms: its certificate's end. */
  readonly notAfter: number
  heardAt: number
  /** Sequence of the trust bundle that is in force in the process; -1 until it has said so. */
  trusts = -1
  readonly instances = new Set<string>()
  readonly #host: SessionHost
  readonly #stream: ServerHttp2Stream
  readonly #onClosed: (session: Session) => void
  /** Instances that another session of the same process has taken over. */
  readonly #moved = new Set<string>()
  /** Those of them that the registry removed: listed again at the next sign of life. */
  readonly #unlisted = new Map<string, Instance>()
  readonly #watches = new Set<string>()
  readonly #seenNotices: SeenNotices
  #renewedAt = Number.NEGATIVE_INFINITY
  /** 0: not greeted. */
  #protocol = 0
  #timer: Timer | undefined
  readonly #requests: SessionRequests
  #ended = false
  #closed = false

  constructor(
    host: SessionHost,
    stream: ServerHttp2Stream,
    who: Registrant,
    notAfter: number,
    onClosed: (session: Session) => void,
  ) {
    this.#host = host
    this.#stream = stream
    this.who = who
    this.notAfter = notAfter
    this.#onClosed = onClosed
    this.heardAt = host.clock.now()
    this.#seenNotices = new SeenNotices(host, who.service, (id, watchers) => this.send({ type: 'seen', id, watchers }))
    this.#requests = new SessionRequests(this, (error) => host.failed(who, error))
    this.#timer = host.clock.startBackgroundTimer(
      HELLO_TIMEOUT_MS,
      () => this.end('hello-expected', 'no hello in time'),
      undefined,
    )
    const reader = new LineReader(LIMITS.lineBytes, (line) => this.#onLine(line))
    stream.on('data', (chunk: Buffer) => {
      if (this.#ended) return
      try {
        reader.push(chunk)
      } catch {
        this.end('too-large', `a line of more than ${LIMITS.lineBytes} bytes`)
      }
    })
    stream.on('drain', () => host.hub.drained(this))
    stream.on('end', () => this.#finish())
    stream.on('error', () => this.#finish())
    stream.on('close', () => this.#finish())
  }

  backlog(): number {
    return this.#stream.writableLength
  }

  write(line: Buffer, flushed?: () => void): void {
    if (this.#closed || this.#stream.destroyed || this.#stream.writableEnded) flushed?.()
    else this.#stream.write(line, flushed)
  }

  /** What every process is sent. One that is not greeted yet gets it then. */
  tell(line: Buffer): void {
    if (this.#protocol > 0 && !this.#ended) this.write(line)
  }

  isWatching(service: string): boolean {
    return this.#watches.has(service)
  }

  close(reason: string): void {
    this.end('overloaded', `the session is closed: ${reason}`)
  }

  unlisted(instance: Instance, why: RemovalReason): void {
    if (this.#ended) return
    this.#unlisted.set(instance.id, instance)
    this.send({ type: 'unlisted', id: instance.id, why })
  }

  disowned(id: string, moved: boolean): void {
    const had = this.instances.delete(id)
    this.#unlisted.delete(id)
    if (!moved || !had || this.#ended) return
    this.#moved.add(id)
    // Its process knows which session is its last one.
    if (this.#protocol >= MOVING_PROTOCOL) this.send({ type: 'moved', id })
  }

  send(message: ServerMessage): void {
    this.write(Buffer.from(`${JSON.stringify(message)}\n`))
  }

  /** Says why, then ends the stream. */
  end(code: string, message: string): void {
    if (this.#ended) return
    this.send({ type: 'error', code, message })
    this.#end()
  }

  quota({ leaseMs, ratePerSecond: rate, byCaller, share, callers }: QuotaLease): void {
    if (!this.#ended) this.send({ type: 'quota', leaseMs, rate, share, ...(byCaller && { callers: [...callers] }) })
  }

  /** Whether its process can be sent away while the session goes on. */
  get movable(): boolean {
    return this.#protocol >= MOVING_PROTOCOL && !this.#ended
  }

  /** The process should open a session with another registry, and end this one then. */
  sendAway(withinMs: number): void {
    if (this.movable) this.send({ type: 'goaway', retryAfterMs: withinMs, gently: true })
  }

  /** The process should come back, here or elsewhere. */
  goAway(retryAfterMs: number): void {
    if (this.#ended) return
    this.send({ type: 'goaway', retryAfterMs })
    this.#end()
  }

  #end(): void {
    this.#ended = true
    this.#leave()
    // Its half is closed by us once ours has been sent: there is nothing more to be heard.
    this.#stream.end(() => this.#stream.close())
    this.#host.clock.startBackgroundTimer(CLOSE_MS, (stream) => stream.destroy(), this.#stream)
  }

  #finish(): void {
    if (this.#closed) return
    this.#closed = true
    this.#ended = true
    this.#leave()
    if (!this.#stream.writableEnded && !this.#stream.destroyed) this.#stream.end()
    // One that leaves for good ends its watches first.
    if (this.#watches.size > 0) this.#host.parted(this)
    this.#onClosed(this)
  }

  #leave(): void {
    if (this.#timer !== undefined) this.#host.clock.stopTimer(this.#timer)
    this.#timer = undefined
    const { hub, registrar, clock } = this.#host
    // One that leaves for good has ended its watches before.
    hub.leave(this, clock.now() + registrar.leases.leaseMs)
    registrar.abandon(this.who.service, this.instances, this)
    this.#seenNotices.close()
    this.#host.quotas.leave(this.who.service, this)
    this.#host.taps.leave(this)
    this.#host.traffic?.leave(this, this.#watches.size === 0 && this.instances.size === 0)
  }

  #onLine(line: string | undefined): void {
    if (this.#ended) return
    let message: SessionMessage
    try {
      message = readMessage(line)
    } catch (error) {
      this.end('invalid-request', `a line is not JSON: ${(error as Error).message.slice(0, 100)}`)
      return
    }
    this.heardAt = this.#host.clock.now()
    this.#renewLeases()
    if (this.#unlisted.size > 0) this.#listAgain()
    if (this.#protocol === 0) this.#greet(message)
    else this.#handle(message)
  }

  /** Not with every message: a process that asks for much at once has a hundred instances. */
  #renewLeases(): void {
    const { leases } = this.#host.registrar
    if (this.heardAt - this.#renewedAt < leases.beatMs * RENEWED_SHARE) return
    this.#renewedAt = this.heardAt
    for (const id of this.instances) if (!this.#unlisted.has(id)) leases.renew(this.who.service, id)
  }

  /** What cannot be listed now is tried again at the next sign of life. */
  #listAgain(): void {
    for (const instance of [...this.#unlisted.values()]) {
      const { id } = instance
      this.#unlisted.delete(id)
      this.#requests.add(undefined, async () => {
        if (!this.instances.has(id)) return { revision: 0 }
        const revision = await this.#host.registrar.relist(this.who, instance, this).catch((error: unknown) => {
          if (!(error instanceof ApiError)) this.#host.failed(this.who, error)
          return undefined
        })
        if (revision === undefined && this.instances.has(id)) this.#unlisted.set(id, instance)
        return { revision: revision ?? 0 }
      })
    }
  }

  #greet(message: SessionMessage): void {
    const { service } = this.who
    if (message.type !== 'hello') {
      this.end('hello-expected', 'the first message must be a hello')
      return
    }
    const { protocol: most } = this.#host
    // A registry of protocol 1 knows no range.
    const protocol = most === 1 && message.protocol !== 1 ? undefined : commonProtocol(most, message)
    if (protocol === undefined) {
      this.end('protocol-unsupported', `this registry speaks protocol ${most}`)
      return
    }
    if (message.service !== service) {
      const text = `${this.who.spiffeId} may not open a session of another service`
      this.#host.refused(this.who, 'foreign-service', text, nameOf(message.service))
      this.end('foreign-service', text)
      return
    }
    this.#protocol = protocol
    if (typeof message.process === 'string') this.process = `${service} ${message.process.slice(0, LIMITS.instanceId)}`
    if (this.#timer !== undefined) this.#host.clock.stopTimer(this.#timer)
    this.#timer = undefined
    const { leaseMs, beatMs } = this.#host.registrar.leases
    this.#host.traffic?.begin(this, message.traffic === true)
    this.send({
      type: 'welcome',
      protocol,
      epoch: this.#host.epoch(),
      leaseMs: Math.round(leaseMs),
      beatMs: Math.round(beatMs),
      wallNow: this.#host.clock.wallNow(),
      dev: this.#host.dev,
      registries: this.#host.registries(),
      ...(this.#host.traffic !== undefined && { traffic: this.#host.traffic.wanted }),
    })
    this.send(this.#host.bundle())
    this.#host.taps.begin(this, message.tap === true)
  }

  #handle(message: SessionMessage): void {
    const { hub } = this.#host
    const service = nameOf(message.service)
    switch (message.type) {
      case 'register':
        this.#requests.add(message.ref, async () => {
          const instance = readInstance(message.instance)
          const most = LIMITS.instancesPerSession
          if (!this.instances.has(instance.id) && this.instances.size >= most) {
            throw new ApiError('limit-exceeded', `this process has ${most} registered instances, the most allowed`)
          }
          // Its process registers in its next session. This one could win, and end.
          if (this.#ended) throw new ApiError('overloaded', 'the session has ended')
          const { registrar } = this.#host
          const isNew = !registrar.lists(this.who.service, instance.id)
          const revision = await registrar.register(this.who, instance, this)
          if (this.#ended) registrar.abandon(this.who.service, [instance.id], this)
          else this.instances.add(instance.id)
          this.#moved.delete(instance.id)
          this.#unlisted.delete(instance.id)
          return { revision, ...(isNew && { isNew }) }
        })
        return
      case 'drain':
      case 'deregister': {
        const { type, id } = message
        this.#requests.add(message.ref, async () => {
          if (typeof id !== 'string' || id.length > 128)
            throw new ApiError('invalid-request', 'id: expected an instance id')
          return { revision: await (type === 'drain' ? this.#drain(id) : this.#deregister(id)) }
        })
        return
      }
      case 'watch':
        if (service === undefined)
          this.send({ type: 'error', code: 'invalid-request', message: 'watch: no service name' })
        else if (!this.#watches.has(service) && this.#watches.size >= LIMITS.watchesPerSession) {
          const message = `${service}: this process watches ${LIMITS.watchesPerSession} services, the most allowed`
          this.send({ type: 'error', code: 'limit-exceeded', message })
        } else {
          this.#watches.add(service)
          hub.watch(this, service, sinceOf(message.since))
          this.#host.taps.watching(this)
        }
        return
      case 'unwatch':
        if (service !== undefined && this.#watches.delete(service)) hub.unwatch(this, service)
        return
      case 'ack':
        if (service !== undefined && Number.isSafeInteger(message.revision)) {
          hub.acknowledge(this, service, message.revision as number)
        }
        return
      case 'trusts':
        if (Number.isSafeInteger(message.sequence)) this.trusts = Math.max(this.trusts, message.sequence as number)
        return
      case 'demand':
        this.#try(() => this.#host.quotas.tell(this.who.service, this, readDemand(message.perSecond, 'demand')))
        return
      case 'tapped':
        this.#try(() => this.#host.taps.report(this, message))
        return
      case 'traffic':
        this.#try(() => this.#host.traffic?.report(this, message))
        return
      default:
        // `beat`, and what a newer process may say.
        return
    }
  }

  /** A report with a mistake is refused whole; the session goes on. */
  #try(report: () => void): void {
    try {
      report()
    } catch (error) {
      this.send({ type: 'error', code: 'invalid-request', message: (error as Error).message })
    }
  }

  async #drain(id: string): Promise<number> {
    const departure = await this.#host.registrar.drain(this.who, id)
    if (!this.#ended) this.#seenNotices.await(id, departure)
    return departure.revision
  }

  async #deregister(id: string): Promise<number> {
    this.instances.delete(id)
    const departure = await this.#host.registrar.deregister(this.who, id, !this.#moved.has(id))
    if (!this.#ended) this.#seenNotices.await(id, departure)
    return departure.revision
  }
}
