/**
 * This process as a member of the mesh: its identity and its session with the registry. A member
 * stays one, whether or not a registry answers.
 *
 * - `outside` → `connecting`: there is an identity
 * - `connecting` → `member`: the first views are in force, live or from the last run
 */
import { inBackground } from '../core/background-clock.ts'
import type { Clock } from '../core/clock.ts'
import { labelOf } from '../core/endpoint.ts'
import { MeshError, reasonOf } from '../core/errors.ts'
import { MESH_DOCUMENT, type PolicyDocument, type ServicePolicy } from '../discovery/policy-document.ts'
import { RegistryClient } from '../discovery/registry/client.ts'
import type { RegistryObserver } from '../discovery/registry/observer.ts'
import type { ServiceView } from '../discovery/registry/service-view.ts'
import { SnapshotCache } from '../discovery/registry/snapshot-cache.ts'
import { FRESH_WITHIN_MS } from '../discovery/registry/watches.ts'
import type { ServiceEndpoints } from '../discovery/resolver.ts'
import { isUnderRoot } from '../identity/identity-check.ts'
import { rootFingerprint } from '../identity/join-token.ts'
import type { RotatingIdentity } from '../identity/rotation.ts'
import { clientTlsOptions } from '../identity/tls-options.ts'
import { sameTexts } from '../identity/trust-bundle.ts'
import type { QuotaLease } from '../resilience/limits/global-rate-limit.ts'
import { newInstanceId } from '../server/announce.ts'
import type { MeshContext } from './context.ts'
import { DevRegistry } from './dev-registry.ts'
import { notJoined, obtainIdentity } from './obtain-identity.ts'
import { ReplacedRoot } from './replaced-root.ts'
import { WatchedServices, type WatchedServicesListener } from './watched-services.ts'

export interface MembershipListener extends WatchedServicesListener {
  /** There is a session to register instances with; called once. */
  begun(registry: RegistryClient): void
  /** A registry has greeted us. */
  connected(): void
  /** A registry has greeted us, and asks for our traffic this often; `undefined`: it does not. */
  trafficAsked(everyMs: number | undefined): void
  tap: NonNullable<RegistryObserver['tap']>
  /** The registry leases a share of our service's global rate limit. */
  quota(lease: QuotaLease): void
}

export class Membership {
  readonly #shared: MeshContext
  readonly #listener: MembershipListener
  readonly #services: WatchedServices
  #registry: RegistryClient | undefined
  #rotation: RotatingIdentity | undefined
  #lastGood: SnapshotCache | undefined
  #firstViews: (() => void) | undefined
  #acceptStale: (() => void) | undefined
  #refuseStart: ((error: MeshError) => void) | undefined
  #closed = false

  constructor(shared: MeshContext, listener: MembershipListener) {
    this.#shared = shared
    this.#listener = listener
    this.#services = new WatchedServices(listener)
    for (const service of [MESH_DOCUMENT, shared.settings.service]) this.#services.watch(service)
  }

  /** `undefined` while there is no identity to open a session with. */
  get registry(): RegistryClient | undefined {
    return this.#registry
  }

  /** Whether the registry runs, or ran, with `--dev`. */
  get dev(): boolean {
    return this.#registry?.dev === true
  }

  /** Whether what is in force for our own service comes from the disk, or nothing is in force. */
  get stale(): boolean {
    return this.#view(this.#shared.settings.service)?.endpoints.stale !== false
  }

  /** The revision of what is in force for `service`. */
  revisionOf(service: string): number | undefined {
    return this.#view(service)?.revision
  }

  endpointsOf(service: string): ServiceEndpoints | undefined {
    return this.#services.endpointsOf(service)
  }

  policyOf(service: string): ServicePolicy {
    return this.#services.policyOf(service)
  }

  /** The checked document of `service` itself, or `null`. */
  documentOf(service: string): PolicyDocument | null {
    return this.#services.documentOf(service)
  }

  /** Reports the endpoints and the policy of `service`, now and after each change. */
  watch(service: string): void {
    this.#services.watch(service)
  }

  /** Forgets `service`, unless this process needs it for itself. */
  unwatch(service: string): void {
    if (service !== MESH_DOCUMENT && service !== this.#shared.settings.service) this.#services.unwatch(service)
  }

  /**
   * Resolves with an identity and a first snapshot. With an identity from disk it resolves by
   * `untilAt` in any case; without a snapshot every caller is denied until one arrives. `waits`
   * decides whether the search keeps the process alive.
   *
   * @throws MeshError after `untilAt` on the monotonic clock, or at once when the registry says no
   */
  async join(untilAt: number, waits: Clock): Promise<void> {
    await this.#begin(await this.#obtain(untilAt, waits))
    await this.#firstViewsUntil(untilAt, waits)
  }

  /**
   * The same without a registry: resolves by `untilAt` in any case and keeps trying in the
   * background, where it keeps no process alive.
   *
   * @throws MeshError at once when the registry says no
   */
  async joinWithoutRegistry(untilAt: number, waits: Clock): Promise<void> {
    try {
      await this.join(untilAt, waits)
    } catch (error) {
      if (!(error instanceof MeshError) || error.code !== 'registry-unavailable') throw error
      if (this.#registry !== undefined) return
      void this.#obtain(Number.POSITIVE_INFINITY, inBackground(waits))
        .then((rotation) => this.#begin(rotation))
        .catch((later: unknown) => {
          const reason = reasonOf(later)
          if (!this.#closed) this.#shared.events.emit('identity:failed', { reason })
        })
    }
  }

  /** Leaves the registry at once; servers have been drained before. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#shared.registryAbsence.close()
    const registry = this.#registry
    const left = registry?.close()
    this.#rotation?.close()
    this.#shared.identity.close()
    if (registry !== undefined) await this.#lastGood?.close(() => registry.known)
    await left
  }

  #obtain(untilAt: number, waits: Clock): Promise<RotatingIdentity> {
    const { settings, addresses, store, events } = this.#shared
    return obtainIdentity(settings, store, events, untilAt, () => this.#closed, addresses, waits)
  }

  /** Begins the session, now that there is an identity. */
  async #begin(rotation: RotatingIdentity): Promise<void> {
    const { settings, addresses, identity, verifier, events, store } = this.#shared
    const { service, clock } = settings
    const lastGood = new SnapshotCache(
      store,
      () => rotation.current.roots,
      clock,
      (reason) => events.emit('snapshot:rejected', { subject: 'disk', reason }),
    )
    const restored = await lastGood.load()
    if (this.#closed) {
      rotation.close()
      return
    }
    this.#rotation = rotation
    this.#lastGood = lastGood
    identity.arrive(rotation)
    const devRegistry = new DevRegistry(this.#shared, rotation)
    const replacedRoot = new ReplacedRoot(this.#shared, rotation)
    const registry = new RegistryClient({
      addresses,
      service,
      process: newInstanceId(service),
      clock,
      restored,
      tls: () => clientTlsOptions(identity.current, verifier, { registry: true }),
      observer: {
        connected: (address) => {
          // Those of the former session; this registry asks for its own.
          this.#shared.taps.endAll()
          events.emit('registry:connected', { address })
          this.#shared.registryAbsence.ends()
          this.#services.dev = this.dev
          this.#listener.connected()
        },
        ...(settings.traffic && { trafficAsked: (everyMs) => this.#listener.trafficAsked(everyMs) }),
        ...(settings.tap && { tap: (message) => this.#listener.tap(message) }),
        quota: ({ leaseMs, rate, share, callers }) => {
          const byCaller = callers !== undefined
          this.#listener.quota({ leaseMs, ratePerSecond: rate, byCaller, share, callers: new Map(callers) })
        },
        lost: (address, reason) => {
          this.#shared.taps.endAll()
          events.emit('registry:lost', { address, reason })
          if (!this.#closed) this.#shared.registryAbsence.begins()
        },
        unreachable: (address, reason, isNew) => {
          if (isNew) events.emit('registry:unreachable', { address, reason })
          void this.#withoutRegistry(devRegistry, replacedRoot)
        },
        applied: (view) => this.#onApplied(view),
        rejected: (reason) => events.emit('snapshot:rejected', { subject: 'registry', reason }),
        policyRefused: (subject, issue, kept) => {
          const instead = kept ? 'the last good policy stays in force' : 'what can be read of it is in force'
          // An issue that lists many keys is cut at its end.
          events.emit('snapshot:rejected', { subject, reason: `${instead}; policy: ${issue}` })
        },
        instanceRefused: (subject, issue) => {
          events.emit('snapshot:rejected', {
            subject,
            reason: `the instance stays as it was read last, or is left out; ${issue}`,
          })
        },
        bundle: (bundle) => {
          rotation.updateBundle(bundle)
          return rotation.current.sequence
        },
        refused: (code, message) => events.emit('snapshot:rejected', { subject: code, reason: message }),
        unlisted: ({ address, port }, reason) =>
          events.emit('instance:unlisted', { endpoint: labelOf({ address, port }), reason }),
        skew: (ms) => events.emit('identity:failed', { reason: `our clock differs from the registry's by ${ms} ms` }),
      },
    })
    this.#registry = registry
    let { roots, certificate } = rotation.current
    identity.onRotate((next) => {
      // What the last run knew under another root is not kept under this one.
      const isForeign = !roots.some((root) => isUnderRoot(next, rootFingerprint(root)))
      if (isForeign) registry.watches.forgetUnwatched()
      // A change of the trust bundle alone must not make every process of the mesh reconnect.
      if (next.certificate !== certificate) registry.renew(isForeign)
      // The snapshot on disk names the roots that it belongs to.
      if (!sameTexts(next.roots, roots)) lastGood.changed(() => registry.known)
      roots = next.roots
      certificate = next.certificate
    })
    this.#services.dev = this.dev
    this.#services.use({ resolver: registry.watches, policies: registry.watches })
    this.#listener.begun(registry)
    registry.start()
  }

  /** A registry may be away, or have another root than ours. */
  async #withoutRegistry(devRegistry: DevRegistry, replacedRoot: ReplacedRoot): Promise<void> {
    if (devRegistry.follows(this.dev)) {
      this.#acceptStale?.()
      await devRegistry.follow(this.dev)
      return
    }
    const error = await replacedRoot.look()
    if (error === undefined) this.#acceptStale?.()
    else this.#refuseStart?.(error)
  }

  #view(service: string): ServiceView | undefined {
    return this.#registry?.watches.views.get(service)
  }

  #onApplied({ service: subject, revision, endpoints: { stale } }: ServiceView): void {
    this.#shared.events.emit('snapshot:applied', { subject, revision, stale })
    const registry = this.#registry
    if (!stale && registry !== undefined) this.#lastGood?.changed(() => registry.known)
    this.#firstViews?.()
  }

  /**
   * Waits for the views of the mesh and of our own service: live ones first, after a second those
   * from disk. Rejects at `untilAt` if there are none and the identity is new, and if the registry
   * has another root than the identity.
   */
  #firstViewsUntil(untilAt: number, clock: Clock): Promise<void> {
    const { settings } = this.#shared
    const { service, registry: addresses } = settings
    const have = (stale: boolean): boolean =>
      [MESH_DOCUMENT, service].every((name) => {
        const view = this.#view(name)
        return view !== undefined && (stale || !view.endpoints.stale)
      })
    return new Promise((resolve, reject) => {
      const finish = (outcome: () => void): void => {
        clock.stopTimer(soon)
        clock.stopTimer(late)
        this.#firstViews = undefined
        this.#acceptStale = undefined
        this.#refuseStart = undefined
        outcome()
      }
      const leftMs = Math.max(0, untilAt - clock.now())
      const late = clock.startTimer(
        leftMs,
        () => {
          const known = settings.stateDir === 'memory' ? '' : ', and none is on disk'
          const why = `no registry of ${addresses.join(', ')} sent a snapshot${known}`
          const error = notJoined(why, settings, { code: 'registry-unavailable' })
          if (this.#rotation?.restored !== true) {
            finish(() => reject(error))
            return
          }
          const reason = `${error.message}: every caller is denied, and calls wait, until one comes`
          this.#shared.events.emit('snapshot:rejected', { subject: 'registry', reason })
          finish(resolve)
        },
        undefined,
      )
      this.#firstViews = () => {
        if (have(false)) finish(resolve)
      }
      let refused: MeshError | undefined
      // Of several addresses, one may be another registry's.
      let others = addresses.length > 1
      this.#refuseStart = (error) => {
        refused = error
        if (!others) finish(() => reject(error))
      }
      this.#acceptStale = () => {
        if (refused === undefined && have(true)) finish(resolve)
      }
      const lookAround = (): void => {
        others = false
        if (refused !== undefined) this.#refuseStart?.(refused)
        else this.#acceptStale?.()
      }
      const soon = clock.startTimer(Math.min(FRESH_WITHIN_MS, leftMs / 2), lookAround, undefined)
      this.#firstViews()
    })
  }
}
