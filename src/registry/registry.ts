/**
 * Assembles a registry from its parts, and closes them in order.
 */
import { isIPv6 } from 'node:net'
import { reasonOf } from '../core/errors.ts'
import { PROTOCOL } from '../discovery/registry/wire.ts'
import { registryId } from '../identity/spiffe-id.ts'
import { check, fields } from '../options/fields.ts'
import type { AccessOptions } from './access/access.ts'
import { ensureAdminToken, followAdminToken, repinAdminToken } from './access/admin-token.ts'
import { Audit } from './access/audit.ts'
import { Denials } from './access/denials.ts'
import { Operators } from './access/operators.ts'
import { RateLimit } from './access/rate-limit.ts'
import { JoinTokens } from './access/tokens.ts'
import type { ApiContext } from './api/context.ts'
import { NEW_TOKEN } from './api/tokens.ts'
import { Exports } from './backup/exports.ts'
import { RegistryAuthority } from './ca/authority.ts'
import { ExternalWatch, openExternal, refuseCaDir } from './ca/external-watch.ts'
import { ProgressReporter } from './ca/progress-reporter.ts'
import { Rotator } from './ca/rotator.ts'
import { TokenSigner } from './ca/token-signer.ts'
import { Departures } from './departures.ts'
import { Fleet } from './fleet/fleet.ts'
import { Housekeeping } from './housekeeping.ts'
import { type Begin, LastingRegistry } from './lasting-registry.ts'
import { type Logger, openLog, SILENT_LOG } from './log.ts'
import {
  advertisedUrl,
  ownNames,
  type RegistryOptions,
  type ResolvedRegistryOptions,
  resolveRegistryOptions,
} from './options.ts'
import { Policies } from './policies.ts'
import { Quotas } from './quotas/quotas.ts'
import { Registrar } from './registrar.ts'
import type { Registry } from './running-registry.ts'
import { readSealKeys, type SealSecrets } from './seal/key-source.ts'
import { SealedStorage } from './seal/sealed-storage.ts'
import { RegistryServer } from './server.ts'
import { Sessions } from './sessions.ts'
import { RegistryState, type ServiceChange } from './state.ts'
import { OneHistory } from './storage/one-history.ts'
import { checkWhole, openStorage } from './storage/open-storage.ts'
import type { Storage } from './storage/storage.ts'
import { MeshTaps } from './tap/mesh-taps.ts'
import { MeshTraffic } from './traffic/mesh-traffic.ts'
import { PageListener } from './ui/page-listener.ts'
import { WatchHub } from './watch/hub.ts'
import { ScriptWatches } from './watch/script-watch.ts'
import { ServiceHistory } from './watch/service-history.ts'

/** After a start on a store whose past is unknown, lists may be incomplete for this many leases. */
const INCOMPLETE_LEASES = 2

/**
 * Starts a registry: discovery, policies and certificate authority of one mesh.
 *
 * @example
 * ```ts
 * const registry = await startRegistry({ port: 0, memory: true, dev: true })
 * const mesh = await joinMesh({ service: 'checkout', registry: registry.url })
 * ```
 * @throws OptionsError for wrong options, a taken port, `dev` on an address that others reach, or a
 * seal key that is missing or wrong
 * @throws StorageError if the data directory is in use or damaged, or etcd cannot be used
 */
export async function startRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const resolved = resolveRegistryOptions(options)
  const log = resolved.log ? await openLog() : SILENT_LOG
  // Before the store: a start without its key touches nothing.
  const secrets = await readSealKeys(resolved)
  const begin: Begin = async (port = resolved.port, over) => {
    const { storage, id } = await openStorage(resolved, log)
    return await runOn(new OneHistory(storage, over), id, { ...resolved, port, protocol: PROTOCOL }, secrets, log)
  }
  if (resolved.store !== undefined) return await LastingRegistry.start(begin, resolved.clock, log)
  const { storage, id } = await openStorage(resolved, log)
  return await runOn(storage, id, { ...resolved, protocol: PROTOCOL }, secrets, log)
}

/**
 * Starts a registry on a given store, which it closes. `id` names it among the registries on that
 * store; `protocol`: the newest of the session that it speaks.
 */
export async function startRegistryOn(
  storage: Storage,
  id: string,
  options: RegistryOptions = {},
  protocol: number = PROTOCOL,
): Promise<Registry> {
  const resolved = resolveRegistryOptions(options)
  const log = resolved.log ? await openLog() : SILENT_LOG
  return await runOn(storage, id, { ...resolved, protocol }, await readSealKeys(resolved), log)
}

/** What tests set besides. */
interface AssemblyOptions extends ResolvedRegistryOptions {
  readonly protocol: number
}

async function runOn(
  storage: Storage,
  id: string,
  options: AssemblyOptions,
  secrets: SealSecrets,
  log: Logger,
): Promise<Registry> {
  try {
    return await assemble(options, await SealedStorage.open(storage, secrets, log), id, log)
  } catch (error) {
    await storage.close()
    throw error
  }
}

async function assemble(options: AssemblyOptions, storage: SealedStorage, id: string, log: Logger): Promise<Registry> {
  const { clock, dev, address, certificateLifeMs, signingsPerSecond, joinsPerSecond } = options
  const replayed: ServiceChange[] = []
  const state = await RegistryState.load(storage, (change) => replayed.push(change))
  const history = new ServiceHistory(state.oldest)
  for (const change of replayed) history.keep(change)
  checkWhole(state, options)
  if (!storage.status().continues) state.expectRegistrationsUntil(clock.wallNow() + INCOMPLETE_LEASES * options.leaseMs)
  if (state.unreadable.length > 0) {
    log.warn({ keys: state.unreadable.slice(0, 20) }, 'damaged instances left out; their processes register again')
  }
  const hasPast = state.trust.rotation !== undefined
  const external = openExternal(options, state)
  const authority = await RegistryAuthority.open(
    state,
    { trustDomain: options.trustDomain, certificateLifeMs, signingsPerSecond, external },
    clock,
  )
  const { trustDomain } = authority
  const signer = new TokenSigner(authority.store, clock)
  const audit = new Audit(state, clock, log, id)
  const adminToken = await ensureAdminToken(state, audit, authority, options.dataDir)
  const hub = new WatchHub(state, clock, history)
  const registrar = new Registrar({ state, hub, audit, clock, log, id }, options.leaseMs)
  const tokens = new JoinTokens(state, audit, clock, authority)
  const { dataDir } = options
  const operators = new Operators(state, audit, clock, authority, (text) => followAdminToken(dataDir, text, log))
  const policies = new Policies(state, audit, clock)
  let closing: Promise<void> | undefined
  const fleet = new Fleet({
    ...{ state, hub, registrar, clock, log, id },
    closing: () => closing !== undefined,
    credentials: () => server.credentials,
  })
  const quotas = new Quotas({ state, clock, id, leaseMs: options.leaseMs, publication: fleet.demand })
  const traffic = options.traffic
    ? new MeshTraffic({
        ...{ state, clock, log, id, fleet },
        leases: registrar.leases,
        leaseMs: options.leaseMs,
        beatMs: registrar.leases.beatMs,
        isKnown: (service) => state.service(service) !== undefined,
        lists: (service, id) => registrar.lists(service, id),
        failed: (error) => log.error({ reason: reasonOf(error) }, 'traffic not kept'),
      })
    : undefined
  const taps = new MeshTaps(clock, { id, ask: (path) => fleet.askPeers(path) })
  const sessions = new Sessions({
    hub,
    registrar,
    quotas,
    traffic: traffic?.traffic,
    taps: taps.hub,
    clock,
    dev,
    protocol: options.protocol,
    epoch: () => state.epoch,
    registries: () => fleet.size,
    whenSeen: (...wait) => fleet.sightings.whenSeen(...wait),
    bundle: () => ({ type: 'bundle', ...authority.bundle }),
    refused: (who, reason, detail, service) =>
      audit.record({
        who: who.spiffeId,
        source: who.source,
        action: 'session',
        outcome: 'refused',
        reason,
        detail,
        ...(service === undefined ? {} : { service }),
      }),
    parted: (session) => progress.lost(session),
    failed: ({ spiffeId, source }, error) => log.error({ who: spiffeId, source, reason: reasonOf(error) }, 'not done'),
  })
  const rotator = new Rotator({ state, authority, audit, clock, log, leaseMs: options.leaseMs })
  const progress = new ProgressReporter({
    state,
    authority,
    processes: () => sessions,
    clock,
    id,
    leaseMs: options.leaseMs,
    hasPast,
    failed: (error) => log.error({ reason: reasonOf(error) }, 'progress not told'),
  })
  // Before the bundle is sent: a denied process hears why its session ends, and no more.
  const denials = new Denials({
    ...{ authority, audit, clock, log, sessions },
    evictions: registrar.evictions,
    dismiss: () => server.dismissDenied(),
  })
  const externalWatch =
    options.caDir === undefined ? undefined : new ExternalWatch(options.caDir, authority, rotator.actor, clock, log)
  const stopFollowing = authority.onChange(() => {
    sessions.tell({ type: 'bundle', ...authority.bundle })
    repinAdminToken(state, authority, dataDir, log)
  })
  const departures = new Departures(clock, sessions, () => fleet.peers)
  const housekeeping = new Housekeeping(
    { state, hub, tokens, clock, watched: fleet.watched },
    options.leaseMs,
    (error) => log.error({ reason: reasonOf(error) }, 'nothing forgotten'),
  )
  const watches = new ScriptWatches(state, hub, registrar.leases, clock)
  const context: ApiContext = {
    state,
    authority,
    rotator,
    tokens,
    operators,
    denials,
    signer,
    policies,
    audit,
    hub,
    registrar,
    sessions,
    watches,
    exports: new Exports(storage.atRest, clock),
    joins: new RateLimit(joinsPerSecond, joinsPerSecond * 4, clock),
    clock,
    dev,
    fleet,
    traffic,
    taps,
  }
  const advertised =
    options.advertise === undefined ? [] : [new URL(options.advertise).hostname.replace(/^\[|\]$/g, '')]
  const names = ownNames(address, [...options.names, ...advertised])
  const access: AccessOptions = {
    dev,
    registryId: registryId(trustDomain),
    names: new Set(names.dnsNames),
    authenticate: (token) => operators.authenticate(token),
  }
  const server = new RegistryServer(context, access, { address, port: options.port, names }, log)
  const pageListener = options.uiPort === undefined ? undefined : new PageListener(server.requests)
  const stop = async (): Promise<void> => {
    // After a restored backup, other registries begin anew as well.
    if (storage.status().replaced === true) departures.close()
    else await departures.drain()
    stopFollowing()
    denials.close()
    externalWatch?.close()
    rotator.close()
    authority.close()
    registrar.close()
    housekeeping.close()
    watches.close()
    sessions.close()
    taps.close()
    traffic?.close()
    quotas.close()
    await progress.close()
    hub.close()
    await Promise.all([fleet.close(), server.close(), pageListener?.close()])
    state.close()
    await storage.close()
  }
  let port: number
  let url: string
  let uiUrl: string
  try {
    repinAdminToken(state, authority, dataDir, log)
    denials.begin()
    await progress.start()
    await externalWatch?.start().catch((error: unknown) => refuseCaDir(error))
    port = await server.listen()
    url = `https://${isIPv6(address) ? `[${address}]` : address}:${port}`
    uiUrl = (await pageListener?.listen(options.uiPort!)) ?? `${url}/ui/`
    await fleet.begin(options.advertise ?? advertisedUrl(address, port), sessions)
  } catch (error) {
    await stop()
    throw error
  }
  if (dev) {
    log.warn(
      { url },
      'DEVELOPMENT MODE: anybody on this machine may join as any service and change everything. Never use it for real traffic',
    )
  }
  log.info(
    { url, uiUrl, trustDomain, epoch: state.epoch, revision: state.revision, root: authority.fingerprint },
    'registry started',
  )

  const close = (): Promise<void> => {
    closing ??= stop().then(() => log.info({}, 'registry closed'))
    return closing
  }
  return {
    id,
    url,
    uiUrl,
    port,
    trustDomain,
    get roots() {
      return authority.roots
    },
    get rootFingerprint() {
      return authority.fingerprint
    },
    adminToken,
    dev,
    get epoch() {
      return state.epoch
    },
    get revision() {
      return state.revision
    },
    get counts() {
      return { sessions: sessions.size, watchers: hub.watchers, encoded: hub.encoded, delivered: hub.delivered }
    },
    async createJoinToken(wanted) {
      const { service, uses, ttl } = check(fields(NEW_TOKEN), wanted, 'createJoinToken')
      return (await tokens.create({ service, uses, ttlMs: ttl }, 'local', 'local')).token
    },
    applyPolicies: (documents) => policies.apply(documents, { by: 'local', source: 'local' }),
    close,
    [Symbol.asyncDispose]: close,
  }
}
