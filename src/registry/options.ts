/**
 * The options of a registry, with their defaults; the same for `startRegistry` and for the command.
 */

import { isIP } from 'node:net'
import { networkInterfaces } from 'node:os'
import { type Clock, systemClock } from '../core/clock.ts'
import type { Duration } from '../options/duration.ts'
import {
  check,
  field,
  fields,
  flag,
  instance,
  list,
  OptionsError,
  optional,
  text,
  withDefault,
} from '../options/fields.ts'
import { renameFormer } from '../options/former-names.ts'
import { duration, integer } from '../options/quantities.ts'
import { isLoopback } from './address-policy.ts'
import { SEAL_KEY, type SealKeySource } from './seal/key-source.ts'
import { type EtcdStoreOptions, etcdStore } from './storage/etcd/options.ts'

/** How to start a registry. */
export interface RegistryOptions {
  /** The address to listen on. @defaultValue `'127.0.0.1'` */
  readonly address?: string
  /** The port to listen on; 0 takes a free one. @defaultValue 7400 */
  readonly port?: number
  /**
   * Where the state is kept, also the authority's key, so it is made with mode 0700 and its files
   * with 0600.
   * @defaultValue nowhere, the state is in memory and dies with the process
   */
  readonly dataDir?: string
  /**
   * An etcd that keeps the state and that several registries share, as a URL such as
   * `'etcd://10.0.0.1:2379,10.0.0.2:2379/inmesh'` or with certificates and a user. Needs
   * `@grpc/grpc-js` and `@grpc/proto-loader`. `dataDir` then keeps the admin token only.
   * @defaultValue `dataDir` keeps the state
   */
  readonly store?: string | EtcdStoreOptions
  /**
   * Says that the state is meant to be in memory; not together with `dataDir`.
   * @defaultValue true without a `dataDir`
   */
  readonly memory?: boolean
  /**
   * The name of the mesh in all identities, fixed by the first start on a `dataDir`.
   * @defaultValue that of the `dataDir`, and `'inmesh.local'` for a new one
   */
  readonly trustDomain?: string
  /**
   * Development: joining needs no token, anybody on this machine is an admin, and calls are allowed
   * unless an intention says otherwise. Only on a loopback address.
   * @defaultValue false
   */
  readonly dev?: boolean
  /**
   * How long a silent instance stays registered; heartbeats come three times as often.
   * @defaultValue `'15s'`
   */
  readonly lease?: Duration
  /** @deprecated Since 0.1; the name is `lease`. */
  readonly leaseMs?: Duration
  /** Life of the certificates it issues, from 5 s to 7 days. @defaultValue `'24h'` */
  readonly certificateLife?: Duration
  /** @deprecated Since 0.1; the name is `certificateLife`. */
  readonly certificateLifeMs?: Duration
  /**
   * DNS names and addresses under which it is reached besides those it listens on.
   * @defaultValue none
   */
  readonly names?: readonly string[]
  /**
   * The URL under which other registries on the same store and operators reach it.
   * @defaultValue the address it listens on; for `0.0.0.0` and `::` the first one of this machine
   */
  readonly advertise?: string
  /**
   * Refused joins per second and source address before it has to wait, with a burst of four times
   * as many. A join with a valid token is not counted.
   * @defaultValue 5
   */
  readonly joinsPerSecond?: number
  /**
   * Certificates per second. More wait up to 3 s; a single service gets at most 80 %.
   * @defaultValue 200: 500 processes that start together all have theirs within 3 s, and a stolen
   * certificate costs less than one core
   */
  readonly signingsPerSecond?: number
  /**
   * A directory with an intermediate that was made elsewhere (`intermediate.key`, `chain.pem`). Its
   * key stays there, and a newer one in it is taken over while the registry runs.
   * @defaultValue the registry makes a root and an intermediate
   */
  readonly caDir?: string
  /**
   * The key that seals private keys in the store: `'file:PATH'`, `'env:NAME'`, `'cmd:COMMAND'`, 32
   * bytes, or a function that gives it. An unsealed store is sealed in place.
   * @defaultValue unsealed
   */
  readonly sealKey?: SealKeySource
  /**
   * The seal key so far, when `sealKey` is another one: what it sealed is sealed anew.
   * @defaultValue none
   */
  readonly formerSealKey?: SealKeySource
  /**
   * Keeps an hour of the calls that processes report, for the service graph, in at most 100 MB.
   * With false, processes count and send nothing.
   * @defaultValue true
   */
  readonly traffic?: boolean
  /**
   * Serves the page of the mesh at `http://127.0.0.1:<uiPort>/ui/`, too, in plain text and on this
   * machine only; 0 takes a free port.
   * @defaultValue at `<url>/ui/` alone, by the mesh's certificate
   */
  readonly uiPort?: number
  /** JSON lines on stderr. @defaultValue true */
  readonly log?: boolean
  /** For tests. @defaultValue the real clock */
  readonly clock?: Clock
}

const HOST = /^(?:[0-9a-fA-F:.]{2,45}|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)$/

/** An origin: no path, no query, no user. */
const ADVERTISED = /^https:\/\/(?:\[[0-9a-fA-F:.]{2,45}\]|[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?)(?::\d{1,5})?$/

const ADVERTISED_AS = 'a URL that others reach, such as https://10.0.0.5:7400'

/** No other machine reaches a wildcard address or port 0. */
function isReachable(url: string): boolean {
  const parsed = ADVERTISED.test(url) ? URL.parse(url) : null
  return parsed !== null && parsed.port !== '0' && !['0.0.0.0', '[::]'].includes(parsed.hostname)
}

const OPTIONS = fields({
  address: withDefault(text('an IP address or a host name', HOST), '127.0.0.1'),
  port: withDefault(integer({ min: 0, max: 65_535 }), 7400),
  dataDir: optional(text('a directory', /^[^\0]+$/, 4_096)),
  store: optional(etcdStore()),
  memory: optional(flag()),
  trustDomain: optional(text("lower-case letters, digits, '.', '-' and '_'", /^[a-z0-9._-]+$/, 255)),
  dev: withDefault(flag(), false),
  // Below 300 ms the heartbeats would be timers of a few ms.
  lease: withDefault(duration({ min: 300, max: 3_600_000 }), 15_000, '15s'),
  // Certificates of seconds let tests and rehearsals wait for a rotation.
  certificateLife: withDefault(duration({ min: 5_000, max: 7 * 86_400_000 }), 86_400_000, '24h'),
  names: withDefault(list(text('a DNS name or an IP address', HOST), { max: 32 }), Object.freeze([])),
  advertise: optional(
    field(ADVERTISED_AS, { type: 'string', pattern: ADVERTISED.source, maxLength: 300 }, (value) =>
      typeof value === 'string' && value.length <= 300 && isReachable(value) ? value : undefined,
    ),
  ),
  joinsPerSecond: withDefault(integer({ min: 1, max: 100_000 }), 5),
  signingsPerSecond: withDefault(integer({ min: 1, max: 100_000 }), 200),
  caDir: optional(text('a directory', /^[^\0]+$/, 4_096)),
  sealKey: optional(SEAL_KEY),
  formerSealKey: optional(SEAL_KEY),
  traffic: withDefault(flag(), true),
  uiPort: optional(integer({ min: 0, max: 65_535 })),
  log: withDefault(flag(), true),
  clock: withDefault(
    instance<Clock>('a clock', (value) => typeof (value as Clock | null)?.now === 'function'),
    systemClock,
  ),
})

const FORMER_NAMES = { leaseMs: 'lease', certificateLifeMs: 'certificateLife' }

export type ResolvedRegistryOptions = ReturnType<typeof resolveRegistryOptions>

/** @throws OptionsError naming every wrong field. */
export function resolveRegistryOptions(options: RegistryOptions = {}) {
  const { lease, certificateLife, ...others } = check(
    OPTIONS,
    renameFormer(options, FORMER_NAMES, 'startRegistry'),
    'startRegistry',
  )
  const resolved = { ...others, leaseMs: lease, certificateLifeMs: certificateLife }
  const refuse = (field: string, message: string): never => {
    throw new OptionsError('startRegistry', [{ path: [field], message }])
  }
  if (resolved.dataDir !== undefined && resolved.memory === true)
    refuse('memory', 'excludes a data directory; give one of the two')
  if (resolved.store !== undefined && resolved.memory === true)
    refuse('memory', 'excludes a store; give one of the two')
  if (resolved.store !== undefined && resolved.dev)
    refuse('dev', 'excludes a store that others share; leave out one of the two')
  if (resolved.dataDir === undefined && resolved.store === undefined && resolved.memory === false)
    refuse('dataDir', 'is missing; give a directory')
  if (resolved.formerSealKey !== undefined && resolved.sealKey === undefined)
    refuse('sealKey', 'is missing: a former seal key is given when another one follows it')
  if (resolved.dev && !isLoopback(resolved.address)) {
    refuse('dev', `is for loopback addresses only, because it lets everybody in; the address is ${resolved.address}`)
  }
  return resolved
}

/** The names of the registry: where it listens, this machine, and what the options add. */
export function ownNames(address: string, names: readonly string[]): { dnsNames: string[]; ipAddresses: string[] } {
  const all = new Set(['localhost', '127.0.0.1', '::1', ...names])
  if (address === '0.0.0.0' || address === '::') {
    for (const one of Object.values(networkInterfaces()).flat())
      if (one !== undefined) all.add(one.address.split('%')[0]!)
  } else all.add(address)
  const ipAddresses = [...all].filter((name) => isIP(name) !== 0)
  return { ipAddresses, dnsNames: [...all].filter((name) => isIP(name) === 0) }
}

/** Where others reach a registry that listens on `address`. */
export function advertisedUrl(address: string, port: number): string {
  const isAny = address === '0.0.0.0' || address === '::'
  const outside = Object.values(networkInterfaces())
    .flat()
    .find((one) => one !== undefined && !one.internal && (address === '::' || one.family === 'IPv4'))
  const host = isAny ? (outside?.address.split('%')[0] ?? 'localhost') : address
  return `https://${isIP(host) === 6 ? `[${host}]` : host}:${port}`
}
