/**
 * The identities that operators deny all access. They are part of the trust bundle, so every
 * verifier of the mesh refuses them; a denial with a time ends by itself.
 */
import type { Clock } from '../../core/clock.ts'
import { reasonOf } from '../../core/errors.ts'
import { WallTimer } from '../../core/wall-timer.ts'
import { parseSpiffeId, registryId, serviceId, serviceOf } from '../../identity/spiffe-id.ts'
import { BUNDLE_LIMITS } from '../../identity/trust-bundle.ts'
import { show } from '../../options/fields.ts'
import { SERVICE_NAME } from '../../options/names.ts'
import { ApiError } from '../api/error.ts'
import type { RegistryAuthority } from '../ca/authority.ts'
import type { Evictions } from '../evictions.ts'
import type { Logger } from '../log.ts'
import { type DenialRecord, KEYS } from '../records.ts'
import type { Sessions } from '../sessions.ts'
import type { Operation } from '../storage/storage.ts'
import type { Audit } from './audit.ts'

/** With {@link BUNDLE_LIMITS} of them a bundle still fits into one message. */
const MOST_ID_LENGTH = 512
/** A store that cannot be written is tried again. */
const RETRY_MS = 5_000
/** In one transaction. */
const MOST_LIFTED_AT_ONCE = 100

export interface NewDenial {
  readonly spiffeId: string
  readonly reason: string | undefined
  /** `undefined`: without end. */
  readonly forMs: number | undefined
}

export interface Denied {
  readonly record: DenialRecord
  /** `updated`: it was denied already, with another reason or time. */
  readonly change: 'denied' | 'updated' | 'unchanged'
}

export interface DenialsHost {
  readonly authority: RegistryAuthority
  readonly audit: Audit
  readonly clock: Clock
  readonly log: Logger
  readonly sessions: Sessions
  readonly evictions: Evictions
  /** Ends the connections of denied peers. */
  readonly dismiss: () => void
}

export class Denials {
  readonly #host: DenialsHost
  readonly #stop: () => void
  #known: ReadonlySet<string> = new Set()
  #timer: WallTimer | undefined
  #ending: Promise<void> = Promise.resolve()

  constructor(host: DenialsHost) {
    this.#host = host
    this.#stop = host.authority.onChange(() => this.#look())
  }

  /** Judges what the store held at the start. */
  begin(): void {
    this.#look()
  }

  get #denials(): ReadonlyMap<string, DenialRecord> {
    return this.#host.authority.store.trust.denials
  }

  has(spiffeId: string): boolean {
    return this.#denials.has(spiffeId)
  }

  /** Oldest first. */
  list(): readonly DenialRecord[] {
    return [...this.#denials.values()].sort((a, b) => a.at - b.at)
  }

  /** @throws ApiError `identity-denied` */
  check(spiffeId: string): void {
    if (this.has(spiffeId)) throw new ApiError('identity-denied', `an operator denied ${spiffeId} all access`)
  }

  /** @throws ApiError `invalid-request`, or `limit-exceeded` */
  async deny({ spiffeId, reason, forMs }: NewDenial, by: string, source: string): Promise<Denied> {
    const { authority, audit } = this.#host
    this.#checkId(spiffeId)
    let denied: Denied | undefined
    await authority.store.change((_rotation, { wallNow }) => {
      const denials = this.#denials
      const known = denials.get(spiffeId)
      const until = forMs === undefined ? null : wallNow + forMs
      if (known !== undefined && known.reason === reason && known.until === until) {
        denied = { record: known, change: 'unchanged' }
        return undefined
      }
      if (known === undefined && denials.size >= BUNDLE_LIMITS.denied) {
        const most = `there are ${BUNDLE_LIMITS.denied} denied identities already, the most that a trust bundle holds`
        throw new ApiError('limit-exceeded', `${most}; allow some first, or end what they use by an intention`)
      }
      const record: DenialRecord = {
        spiffeId,
        at: known?.at ?? wallNow,
        until,
        by,
        ...(reason !== undefined && { reason }),
      }
      denied = { record, change: known === undefined ? 'denied' : 'updated' }
      const end = until === null ? '' : ` until ${new Date(until).toISOString()}`
      const detail = `${spiffeId}${end}${reason === undefined ? '' : `: ${reason}`}`
      const operations = [
        { key: KEYS.denial(spiffeId), value: JSON.stringify(record) },
        ...audit.operations({ who: by, source, action: 'deny', outcome: 'done', ...this.#serviceOf(spiffeId), detail }),
      ]
      return { rotation: {}, operations, isBundle: known === undefined }
    })
    await this.#ending
    return denied!
  }

  /** @throws ApiError `invalid-request`, or `not-found` if it is not denied */
  async allow(spiffeId: string, by: string, source: string): Promise<DenialRecord> {
    const { authority } = this.#host
    this.#checkId(spiffeId)
    let record: DenialRecord | undefined
    await authority.store.change(() => {
      record = this.#denials.get(spiffeId)
      if (record === undefined) throw new ApiError('not-found', `${spiffeId} is not denied`)
      return { rotation: {}, operations: this.#lift(record, by, source) }
    })
    return record!
  }

  close(): void {
    this.#stop()
    this.#timer?.stop()
  }

  #checkId(spiffeId: string): void {
    const mistake = idMistake(spiffeId, this.#host.authority.trustDomain)
    if (mistake !== undefined) throw new ApiError('invalid-request', mistake)
  }

  #lift(record: DenialRecord, who: string, source: string, why?: string): Operation[] {
    const { spiffeId } = record
    const detail = why === undefined ? spiffeId : `${spiffeId}: ${why}`
    return [
      { key: KEYS.denial(spiffeId), value: undefined },
      ...this.#host.audit.operations({
        who,
        source,
        action: 'allow',
        outcome: 'done',
        ...this.#serviceOf(spiffeId),
        detail,
      }),
    ]
  }

  #serviceOf(spiffeId: string): { readonly service?: string } {
    const service = serviceOf(spiffeId, this.#host.authority.trustDomain)
    return service === undefined ? {} : { service }
  }

  #look(): void {
    const denials = this.#denials
    const fresh = [...denials.keys()].filter((id) => !this.#known.has(id))
    this.#known = new Set(denials.keys())
    if (fresh.length > 0) this.#end(fresh)
    this.#wait()
  }

  /** Ends what denied identities have here. */
  #end(spiffeIds: readonly string[]): void {
    const { sessions, dismiss, evictions, log } = this.#host
    sessions.deny(new Set(spiffeIds))
    dismiss()
    const evicted = spiffeIds.map(async (spiffeId) => {
      const { service } = this.#serviceOf(spiffeId)
      if (service !== undefined) await evictions.evict(service, spiffeId)
    })
    this.#ending = Promise.all(evicted).then(
      () => undefined,
      (error: unknown) => {
        // Their leases end them.
        const reason = reasonOf(error)
        log.error({ spiffeIds: spiffeIds.slice(0, 20), reason }, 'instances of denied identities not removed')
      },
    )
  }

  #wait(afterMs = 0): void {
    this.#timer?.stop()
    this.#timer = undefined
    let next = Number.POSITIVE_INFINITY
    for (const { until } of this.#denials.values()) if (until !== null) next = Math.min(next, until)
    if (next === Number.POSITIVE_INFINITY) return
    const { clock } = this.#host
    this.#timer = new WallTimer(clock, Math.max(afterMs, next - clock.wallNow()), () => void this.#expire())
  }

  /** Of several registries the first one lifts it; the others find nothing due. */
  async #expire(): Promise<void> {
    const { authority, log } = this.#host
    try {
      const lifted = await authority.store.change((_rotation, { wallNow }) => {
        const due = this.list().filter(({ until }) => until !== null && until <= wallNow)
        const some = due.slice(0, MOST_LIFTED_AT_ONCE)
        if (some.length === 0) return undefined
        const operations = some.flatMap((record) => this.#lift(record, 'registry', 'local', 'its time is over'))
        return { rotation: {}, operations }
      })
      // The change itself made this look again.
      if (!lifted) this.#wait()
    } catch (error) {
      log.error({ reason: reasonOf(error) }, 'denials not ended')
      this.#wait(RETRY_MS)
    }
  }
}

/** Why an id cannot be denied, with what to do. */
function idMistake(spiffeId: string, trustDomain: string): string | undefined {
  const example = serviceId(trustDomain, SERVICE_NAME.test(spiffeId) ? spiffeId : 'checkout')
  const id = parseSpiffeId(spiffeId)
  if (id === undefined) return `${show(spiffeId)} is no SPIFFE id; expected one such as ${example}`
  if (id.trustDomain !== trustDomain) {
    return `${show(spiffeId)} is of trust domain '${id.trustDomain}', and this mesh is '${trustDomain}'`
  }
  if (id.path === '') return `${spiffeId} names the whole mesh; name one identity, such as ${example}`
  if (spiffeId === registryId(trustDomain)) {
    return `${spiffeId} is the identity of the registries, without which no process would hear of this`
  }
  return spiffeId.length > MOST_ID_LENGTH ? `an id has at most ${MOST_ID_LENGTH} characters here` : undefined
}
