/** The options of `joinMesh`, and what they become. */
import { type Clock, systemClock } from '../core/clock.ts'
import { DEFAULT_TRANSPORT, TRANSPORT_PREFERENCES, type TransportPreference } from '../core/transport.ts'
import { METADATA } from '../discovery/instance-reader.ts'
import { either } from '../options/composed-fields.ts'
import { type Duration, formatDuration } from '../options/duration.ts'
import { type Field, fields, flag, instance, list, oneOf, optional, text, withDefault } from '../options/fields.ts'
import { serviceName } from '../options/names.ts'
import { duration, integer } from '../options/quantities.ts'
import { ACCESS_LOG_OPTION, type AccessLogOptions, type AccessLogSettings } from '../telemetry/access-log/settings.ts'
import { ADMIN_FIELDS, type AdminOptions, type AdminSettings } from '../telemetry/admin-access.ts'
import type { DebugSettings } from '../telemetry/debug/areas.ts'

/**
 * How a process joins the mesh. Every option can also come from the environment variable named with
 * it.
 */
export interface MeshOptions {
  /** The name of this service. `INMESH_SERVICE`. @defaultValue none: it is required */
  readonly service?: string
  /**
   * `https://host:port` of the registry, or several. `INMESH_REGISTRY`, separated by commas.
   * @defaultValue `'https://127.0.0.1:7400'`
   */
  readonly registry?: string | readonly string[]
  /**
   * From `inmesh token create`, or a function that gives it. A function is asked once for each
   * join, for 10 s at most: at a start without a valid certificate of this registry, and after the
   * certificate has ended. What it gives is kept for a minute until a registry was shown it. Not
   * needed with a `--dev` registry. `INMESH_JOIN_TOKEN`. @defaultValue none
   */
  readonly joinToken?: string | (() => string | Promise<string>)
  /**
   * A file with the join token, read each time this process joins; refused if every user may write
   * it. Instead of `joinToken`. `INMESH_JOIN_TOKEN_FILE`. @defaultValue none
   */
  readonly joinTokenFile?: string
  /**
   * Where key, certificate and last snapshot are kept (0700), or `'memory'`: then a restart needs a
   * token and a registry. A directory that cannot be written is an error; the default one then
   * gives way to memory, with a warning. `INMESH_STATE_DIR`.
   * @defaultValue `~/.local/state/inmesh/<service>`
   */
  readonly stateDir?: string
  /** Failure domain, for zone preference. `INMESH_ZONE`. @defaultValue none */
  readonly zone?: string
  /** Version of this service. `INMESH_VERSION`. @defaultValue none */
  readonly version?: string
  /** Share of the calls relative to others; 100 is ordinary. `INMESH_WEIGHT`. @defaultValue 100 */
  readonly weight?: number
  /**
   * Registered with every instance of this process; at most 64 entries of 512 characters.
   * @defaultValue none
   */
  readonly metadata?: Readonly<Record<string, string>>
  /**
   * Bound of joining: identity and first snapshot. `INMESH_JOIN_TIMEOUT`. @defaultValue `'5s'`
   */
  readonly joinTimeout?: Duration
  /**
   * Do not fail when there is no registry and no certificate on disk, but keep trying, which does
   * not keep the process alive.
   * `INMESH_START_WITHOUT_REGISTRY`. @defaultValue false
   */
  readonly startWithoutRegistry?: boolean
  /** @deprecated Since 0.1; the name is `startWithoutRegistry`. */
  readonly startWithout?: boolean
  /**
   * What carries calls of this process where no document says anything: `'auto'` or `'http1'`. It
   * also decides what its servers offer. See the policy `transport`. `INMESH_TRANSPORT`.
   * @defaultValue `'auto'`
   */
  readonly transport?: TransportPreference
  /**
   * Whether processes of the same user on the same machine talk over Unix sockets: its servers
   * listen on one beside their port, and its calls take those of others. Identity and policies are
   * the same. Linux only. `INMESH_SAME_HOST`. @defaultValue false
   */
  readonly sameHost?: boolean
  /**
   * Whether this process reports its calls to the registry, if the registry asks: how many, how
   * they ended and how long they took, by service, method, route, version and zone. Set false to
   * report none. `INMESH_TRAFFIC`. @defaultValue true
   */
  readonly traffic?: boolean
  /**
   * Whether operators may watch single calls of this process for minutes at a time (`inmesh tap`):
   * method, path without query, status, time, and the headers that the document of `mesh` allows.
   * Set false to refuse. `INMESH_TAP`. @defaultValue true
   */
  readonly tap?: boolean
  /**
   * Loopback port of the admin listener (metrics, endpoints, configuration, events, probes); 0 =
   * any. `INMESH_ADMIN_PORT`. @defaultValue none: it does not listen
   */
  readonly adminPort?: number
  /**
   * The admin listener on an address of your choice: for probes and scrapers on other machines.
   * `INMESH_ADMIN_HOST`, `INMESH_ADMIN_PORT`, `INMESH_ADMIN_ALLOW` (separated by commas),
   * `INMESH_ADMIN_LISTENER_TOKEN`. @defaultValue none
   */
  readonly admin?: AdminOptions
  /**
   * The access log: one line for each call and each served request that failed, was slow or is
   * sampled. Documents say more, and turn it off. @defaultValue none, whatever documents say
   */
  readonly accessLog?: AccessLogOptions
  /**
   * On SIGTERM and Ctrl-C: drain, then exit; a second signal exits at once. Set false to call
   * `mesh.close()` yourself. @defaultValue true
   */
  readonly handleSignals?: boolean
  /** How long a drain waits until clients have taken notice. @defaultValue `'5s'` */
  readonly drainNotice?: Duration
  /**
   * How long a drain waits for requests in flight. @defaultValue `'25s'` (below the 30 s of
   * Kubernetes)
   */
  readonly drainTimeout?: Duration
  /** For tests only. @defaultValue the system's */
  readonly clock?: Clock
}

export interface MeshSettings {
  readonly service: string
  readonly registry: readonly string[]
  readonly joinToken: string | (() => string | Promise<string>) | undefined
  readonly joinTokenFile: string | undefined
  readonly stateDir: string
  /** By an option or a variable. */
  readonly stateDirGiven: boolean
  readonly zone: string | undefined
  readonly version: string | undefined
  readonly weight: number
  readonly metadata: Readonly<Record<string, string>>
  readonly joinTimeoutMs: number
  readonly startWithoutRegistry: boolean
  readonly transport: TransportPreference
  readonly sameHost: boolean
  readonly traffic: boolean
  readonly tap: boolean
  /** `undefined`: no listener. */
  readonly admin: AdminSettings | undefined
  readonly accessLog: AccessLogSettings | undefined
  readonly handleSignals: boolean
  readonly drainNoticeMs: number
  readonly drainTimeoutMs: number
  readonly clock: Clock
  /** Of INMESH_DEBUG; `undefined`: nothing is shown. */
  readonly debug?: DebugSettings | undefined
}

/** Where neither an option nor a variable says anything. */
const DEFAULT_SAME_HOST = false

const REGISTRY_SHAPE = /^https:\/\/(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?\/?$/
const REGISTRY_URL = instance<string>(
  "a registry address such as 'https://127.0.0.1:7400'",
  // The shape alone lets port 99999 pass, and addresses of IPv6 that are none.
  (value) => typeof value === 'string' && REGISTRY_SHAPE.test(value) && URL.canParse(value),
)
const JOIN_TOKEN = /^inmesh-join\.[A-Za-z0-9_-]{1,100}\.[A-Za-z0-9_-]{1,100}$/
const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

export const MESH_FIELDS = fields({
  service: serviceName(),
  registry: withDefault<string | readonly string[]>(
    either<readonly string[], string>(list(REGISTRY_URL, { min: 1, max: 16 }), REGISTRY_URL),
    'https://127.0.0.1:7400',
  ),
  joinToken: optional(
    instance<string | (() => string | Promise<string>)>(
      "a join token ('inmesh-join.…') or a function that gives one",
      (value) => typeof value === 'function' || (typeof value === 'string' && JOIN_TOKEN.test(value)),
    ),
  ),
  joinTokenFile: optional(text('the path of a file', /^[^\0]+$/, 4_096)),
  stateDir: optional(text("a directory, or 'memory'", /^[^\0]+$/, 4_096)),
  zone: optional(text("a zone name of letters, digits, '.', '_', '-'", WORD, 63)),
  version: optional(text("a version of letters, digits, '.', '_', '-'", WORD, 63)),
  weight: withDefault(integer({ min: 0, max: 1_000 }), 100),
  metadata: withDefault(METADATA, Object.freeze({})),
  joinTimeout: withDefault(duration({ min: 100, max: 600_000 }), 5_000, formatDuration(5_000)),
  startWithoutRegistry: withDefault(flag(), false),
  transport: withDefault(oneOf(TRANSPORT_PREFERENCES), DEFAULT_TRANSPORT),
  sameHost: withDefault(flag(), DEFAULT_SAME_HOST),
  traffic: withDefault(flag(), true),
  tap: withDefault(flag(), true),
  adminPort: optional(integer({ min: 0, max: 65_535 })),
  admin: optional(ADMIN_FIELDS),
  accessLog: optional(ACCESS_LOG_OPTION),
  handleSignals: withDefault(flag(), true),
  drainNotice: withDefault(duration({ min: 0, max: 60_000 }), 5_000, formatDuration(5_000)),
  drainTimeout: withDefault(duration({ min: 0, max: 600_000 }), 25_000, formatDuration(25_000)),
  clock: withDefault<Clock>(clockField(), systemClock),
})

/** Former names that are still taken, with a warning. */
export const FORMER_NAMES = { startWithout: 'startWithoutRegistry' }

function clockField(): Field<Clock> {
  return instance('a Clock', (value) => typeof (value as Clock | null)?.now === 'function')
}
