/** Watches without a session: lists, long polls and server-sent events, served from memory. */
import type { ServerResponse } from 'node:http'
import type { Clock } from '../../core/clock.ts'
import { addressKey } from '../../core/endpoint.ts'
import { parseDuration } from '../../options/duration.ts'
import { SERVICE_NAME } from '../../options/names.ts'
import { ApiError, invalid } from '../api/error.ts'
import { beginStream, type IncomingRequest, isHttp2, type OutgoingResponse, sendJson } from '../api/request.ts'
import type { Leases } from '../leases.ts'
import type { InstanceRecord } from '../records.ts'
import type { ServiceEntry } from '../service-entry.ts'
import type { RegistryState } from '../state.ts'
import type { WatchHub } from './hub.ts'
import type { Watcher } from './watcher.ts'

const LONGEST_WAIT_MS = 60_000
/** Long polls and event streams at the same time. */
const MOST_WAITING = 2_000
const MOST_SERVICES = 100
const PREFIX = Buffer.from('data: ')
/**
 * The epoch, and of each service asked for, in their order, the revision up to which its watcher
 * knows it.
 */
const EVENT_ID = /^([A-Za-z0-9-]{1,64}):(\d{1,15}(?:\.\d{1,15}){0,99})$/

export class ScriptWatches {
  readonly #state: RegistryState
  readonly #hub: WatchHub
  readonly #leases: Leases
  readonly #clock: Clock
  /** Ends each wait. */
  readonly #open = new Set<() => void>()

  constructor(state: RegistryState, hub: WatchHub, leases: Leases, clock: Clock) {
    this.#state = state
    this.#hub = hub
    this.#leases = leases
    this.#clock = clock
  }

  list(response: OutgoingResponse): void {
    const services = [...this.#state.services.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((service) => {
        const instances = [...service.instances.values()]
        return {
          service: service.name,
          revision: service.revision,
          instances: instances.length,
          ready: instances.filter((record) => record.instance.state === 'ready').length,
          policyVersion: service.policy?.document ? service.policy.version : null,
          frozen: this.#leases.isFrozen(service.name),
        }
      })
    const { epoch, revision } = this.#state
    sendJson(response, 200, { epoch, revision, services }, this.#headers(revision))
  }

  /**
   * `?since=R&wait=30s`: answers when the service has changed after R, or after the wait with what
   * is.
   */
  get(request: IncomingRequest, response: OutgoingResponse, service: string, query: URLSearchParams): void {
    const waitMs = waitOf(query.get('wait'))
    const since = sinceOf(query.get('since'))
    const epoch = query.get('epoch')
    // A revision that has not been belongs to another history, unless the caller names this one:
    // then another registry on the store was ahead.
    const stale = epoch === null ? since > this.#state.revision : epoch !== this.#state.epoch
    if (waitMs === 0 || stale || (this.#revisionOf(service) > since && this.#state.service(service) !== undefined)) {
      this.#answer(response, service)
      return
    }
    this.#admit()
    const finish = (answers: boolean): void => {
      if (!this.#open.delete(end)) return
      this.#clock.stopTimer(timer)
      stop()
      if (answers) this.#answer(response, service)
    }
    const end = (): void => finish(true)
    this.#open.add(end)
    const timer = this.#clock.startBackgroundTimer(waitMs, end, undefined)
    const stop = this.#state.onChange((change) => {
      if (change.service === service && change.revision > since) end()
    })
    request.once('close', () => {
      // On HTTP/1.1 it closes when the request has been read, too; only a closed response is a
      // caller who has gone.
      if (response.destroyed) finish(false)
    })
    response.once('close', () => finish(false))
  }

  /**
   * `?service=a,b`: snapshots, then deltas, as the session has them, one event a message. With
   * `last-event-id`, or `since=R` (and `epoch=E`), only what came after.
   */
  stream(request: IncomingRequest, response: OutgoingResponse, query: URLSearchParams): void {
    const services = [...new Set((query.get('service') ?? '').split(','))]
    if (services.length > MOST_SERVICES || !services.every((service) => SERVICE_NAME.test(service))) {
      throw invalid('watch', [
        { path: ['service'], message: `expected 1 to ${MOST_SERVICES} service names, separated by commas` },
      ])
    }
    const from = this.#resumeAt(request, query, services)
    const known = new Map(services.map((service) => [service, from?.get(service) ?? 0]))
    this.#admit()
    beginStream(response, 'text/event-stream')
    const writable = response as ServerResponse
    const watcher: Watcher = {
      acknowledges: false,
      backlog: () => (isHttp2(response) ? (response.stream?.writableLength ?? 0) : response.writableLength),
      write: (line, flushed, position) => {
        if (response.destroyed || response.writableEnded) {
          flushed?.()
          return
        }
        if (position !== undefined) {
          for (const service of position.service === undefined ? services : [position.service]) {
            known.set(service, position.revision)
          }
        }
        const id = Buffer.from(`id: ${this.#state.epoch}:${[...known.values()].join('.')}\n\n`)
        writable.write(Buffer.concat([PREFIX, line, id]), () => flushed?.())
      },
      close: () => end(),
    }
    const end = (): void => {
      if (!this.#open.delete(end)) return
      this.#hub.leave(watcher)
      writable.end()
    }
    this.#open.add(end)
    writable.on('drain', () => this.#hub.drained(watcher))
    writable.once('close', end)
    writable.once('error', end)
    const { epoch } = this.#state
    for (const service of services) {
      const revision = from?.get(service)
      this.#hub.watch(watcher, service, revision === undefined ? undefined : { epoch, revision })
    }
  }

  /** Every wait is answered with what is, every stream ended. */
  close(): void {
    for (const end of [...this.#open]) end()
  }

  /**
   * By service; `undefined`: from the beginning. What a browser repeats goes before the address,
   * which it never changes.
   */
  #resumeAt(
    request: IncomingRequest,
    query: URLSearchParams,
    services: readonly string[],
  ): Map<string, number> | undefined {
    const header = request.headers['last-event-id']
    const match = typeof header === 'string' ? EVENT_ID.exec(header) : null
    if (match !== null) {
      const revisions = match[2]!.split('.').map(Number)
      if (match[1] !== this.#state.epoch || revisions.length !== services.length) return undefined
      return new Map(services.map((service, i) => [service, revisions[i]!]))
    }
    const since = sinceOf(query.get('since'))
    if (since < 0 || (query.get('epoch') ?? this.#state.epoch) !== this.#state.epoch) return undefined
    return new Map(services.map((service) => [service, since]))
  }

  #admit(): void {
    if (this.#open.size >= MOST_WAITING) throw new ApiError('overloaded', 'too many watches are open; try again later')
  }

  #revisionOf(service: string): number {
    return this.#state.service(service)?.revision ?? 0
  }

  #answer(response: OutgoingResponse, name: string): void {
    const service = this.#state.service(name)
    if (service === undefined) {
      sendJson(response, 404, new ApiError('not-found', `there is no service '${name}'`), this.#headers(0))
      return
    }
    const body = {
      service: name,
      epoch: this.#state.epoch,
      revision: service.revision,
      instances: [...service.instances.values()].map((record) => ({
        ...record.instance,
        registeredAt: record.registeredAt,
        ...overrideOf(service, record),
      })),
      policy: this.#state.served.documentOf(name),
      intended: this.#state.intended(name, this.#clock.wallNow()),
      frozen: this.#leases.isFrozen(name),
    }
    sendJson(response, 200, body, this.#headers(service.revision))
  }

  #headers(revision: number): Record<string, string> {
    return { 'inmesh-epoch': this.#state.epoch, 'inmesh-revision': String(revision) }
  }
}

function waitOf(text: string | null): number {
  if (text === null) return 0
  const ms = parseDuration(text)
  if (ms === undefined) throw invalid('wait', [{ path: ['wait'], message: "expected a duration such as '30s'" }])
  return Math.min(ms, LONGEST_WAIT_MS)
}

function sinceOf(text: string | null): number {
  if (text === null) return -1
  if (!/^\d{1,15}$/.test(text)) throw invalid('since', [{ path: ['since'], message: 'expected a revision' }])
  return Number(text)
}

/** What an operator decided, and what the process itself says. */
function overrideOf({ overrides }: ServiceEntry, { instance, own }: InstanceRecord): object {
  const override = overrides.get(addressKey(instance))
  return override === undefined || own === undefined ? {} : { override, own }
}
