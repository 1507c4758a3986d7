/**
 * What `joinMesh` and `mesh.serve` take, from code and from `INMESH_*` variables, checked whole
 * before anything starts.
 */
import { homedir } from 'node:os'
import { join } from 'node:path'
import { type Clock, systemClock } from '../core/clock.ts'
import { HOST, METADATA } from '../discovery/instance-reader.ts'
import { LIMITS } from '../discovery/limits.ts'
import { either } from '../options/composed-fields.ts'
import { type Duration, formatDuration } from '../options/duration.ts'
import {
  type AnyField,
  check,
  type Field,
  fields,
  flag,
  instance,
  list,
  OptionsError,
  optional,
  type Parsed,
  show,
  text,
  withDefault,
} from '../options/fields.ts'
import { renameFormer } from '../options/former-names.ts'
import { serviceName } from '../options/names.ts'
import { duration, integer } from '../options/quantities.ts'
import { GRPC_SERVER_FIELDS, type GrpcServerOptions } from '../server/grpc/options.ts'
import { HTTP_SERVER_FIELDS, type HttpServerOptions } from '../server/http/options.ts'
import { fromEnvironment, namingVariables, warnOfStrangers } from './environment.ts'

/**
 * How a process joins the mesh. Every option can also come from the environment variable named with
 * it.
 */
export interface MeshOptions {
  /** The name of this service. `INMESH_SERVICE`. */
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
   * needed with a `--dev` registry. `INMESH_JOIN_TOKEN`.
   */
  readonly joinToken?: string | (() => string | Promise<string>)
  /**
   * A file with the join token, read each time this process joins; refused if every user may write
   * it. Instead of `joinToken`. `INMESH_JOIN_TOKEN_FILE`.
   */
  readonly joinTokenFile?: string
  /**
   * Where key, certificate and last snapshot are kept (0700), or `'memory'`: then a restart needs a
   * token and a registry. `INMESH_STATE_DIR`. @defaultValue `~/.local/state/inmesh/<service>`
   */
  readonly stateDir?: string
  /** Failure domain, for zone preference. `INMESH_ZONE`. */
  readonly zone?: string
  /** Version of this service. `INMESH_VERSION`. */
  readonly version?: string
  /** Share of the calls relative to others; 100 is ordinary. `INMESH_WEIGHT`. @defaultValue 100 */
  readonly weight?: number
  /** Told to everybody who watches this service; at most 64 entries of 512 characters. */
  readonly metadata?: Readonly<Record<string, string>>
  /** Bound of joining: identity and first snapshot. @defaultValue `'5s'` */
  readonly joinTimeout?: Duration
  /**
   * Do not fail when there is no registry and no certificate on disk, but keep trying.
   * `INMESH_START_WITHOUT_REGISTRY`. @defaultValue false
   */
  readonly startWithoutRegistry?: boolean
  /** @deprecated Since 0.1; the name is `startWithoutRegistry`. */
  readonly startWithout?: boolean
  /**
   * Loopback port of the admin listener (metrics, endpoints, configuration, events); 0 = any;
   * absent = none. `INMESH_ADMIN_PORT`.
   */
  readonly adminPort?: number
  /**
   * On SIGTERM and Ctrl-C: drain, then exit; a second signal exits at once. Set false to call
   * `mesh.close()` yourself. @defaultValue true
   */
  readonly handleSignals?: boolean
  /** How long a drain waits for the others to have seen that we leave. @defaultValue `'5s'` */
  readonly drainNotice?: Duration
  /** How long a drain waits for what runs. @defaultValue `'25s'` (below the 30 s of Kubernetes) */
  readonly drainTimeout?: Duration
  /** For tests only. */
  readonly clock?: Clock
}

export interface MeshSettings {
  readonly service: string
  readonly registry: readonly string[]
  readonly joinToken: string | (() => string | Promise<string>) | undefined
  readonly joinTokenFile: string | undefined
  readonly stateDir: string
  readonly zone: string | undefined
  readonly version: string | undefined
  readonly weight: number
  readonly metadata: Readonly<Record<string, string>>
  readonly joinTimeoutMs: number
  readonly startWithoutRegistry: boolean
  readonly adminPort: number | undefined
  readonly handleSignals: boolean
  readonly drainNoticeMs: number
  readonly drainTimeoutMs: number
  readonly clock: Clock
}

const REGISTRY_SHAPE = /^https:\/\/(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::\d{1,5})?\/?$/
const REGISTRY_URL = instance<string>(
  "a registry address such as 'https://127.0.0.1:7400'",
  // The shape alone lets port 99999 pass, and addresses of IPv6 that are none.
  (value) => typeof value === 'string' && REGISTRY_SHAPE.test(value) && URL.canParse(value),
)
const JOIN_TOKEN = /^inmesh-join\.[A-Za-z0-9_-]{1,100}\.[A-Za-z0-9_-]{1,100}$/
const WORD = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

const MESH_FIELDS = fields({
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
  adminPort: optional(integer({ min: 0, max: 65_535 })),
  handleSignals: withDefault(flag(), true),
  drainNotice: withDefault(duration({ min: 0, max: 60_000 }), 5_000, formatDuration(5_000)),
  drainTimeout: withDefault(duration({ min: 0, max: 600_000 }), 25_000, formatDuration(25_000)),
  clock: withDefault<Clock>(clockField(), systemClock),
})

const FORMER_NAMES = { startWithout: 'startWithoutRegistry' }

function clockField(): Field<Clock> {
  return instance('a Clock', (value) => typeof (value as Clock | null)?.now === 'function')
}

/** Options win over variables. @throws OptionsError naming each wrong field */
export function resolveMeshOptions(options: MeshOptions = {}, env: NodeJS.ProcessEnv = process.env): MeshSettings {
  assertObject(options, 'joinMesh')
  const fromCode = renameFormer(optionsGiven(options, MESH_FIELDS.shape), FORMER_NAMES, 'joinMesh')
  warnOfStrangers(env, Object.keys(MESH_FIELDS.shape))
  const { joinToken, joinTokenFile, ...others } = fromEnvironment(env)
  // One of them in code stands for both.
  const tokenInCode = Object.hasOwn(fromCode, 'joinToken') || Object.hasOwn(fromCode, 'joinTokenFile')
  const fromEnv = optionsGiven(tokenInCode ? others : { joinToken, joinTokenFile, ...others })
  let given: Parsed<typeof MESH_FIELDS>
  try {
    given = check(MESH_FIELDS, { ...fromEnv, ...fromCode }, 'joinMesh')
  } catch (error) {
    throw namingVariables(
      error,
      Object.keys(fromEnv).filter((option) => !Object.hasOwn(fromCode, option)),
    )
  }
  if (given.joinToken !== undefined && given.joinTokenFile !== undefined) {
    const message = "is not taken beside 'joinToken'; give one of both"
    throw new OptionsError('joinMesh', [{ path: ['joinTokenFile'], message }])
  }
  return Object.freeze({
    service: given.service,
    registry: Object.freeze([given.registry].flat().map((address) => address.replace(/\/$/, ''))),
    joinToken: given.joinToken,
    joinTokenFile: given.joinTokenFile,
    stateDir: given.stateDir ?? join(stateHome(env), 'inmesh', given.service),
    zone: given.zone,
    version: given.version,
    weight: given.weight,
    metadata: given.metadata,
    joinTimeoutMs: given.joinTimeout,
    startWithoutRegistry: given.startWithoutRegistry,
    adminPort: given.adminPort,
    handleSignals: given.handleSignals,
    drainNoticeMs: given.drainNotice,
    drainTimeoutMs: given.drainTimeout,
    clock: given.clock,
  })
}

/** Anything else would be spread into nothing, or fail with an error about something else. */
function assertObject(options: unknown, what: string): void {
  if (typeof options === 'object' && options !== null && !Array.isArray(options)) return
  throw new OptionsError(what, [{ path: [], message: `expected an object of options, got ${show(options)}` }])
}

/** Those that are not `undefined`, also inherited ones and getters of a class. */
function optionsGiven(options: object, shape: object = {}): Record<string, unknown> {
  const given: Record<string, unknown> = {}
  const take = (key: string): void => {
    const value = (options as Record<string, unknown>)[key]
    if (value !== undefined) given[key] = value
  }
  for (const key in options) take(key)
  for (const key in shape) take(key)
  return given
}

function stateHome(env: NodeJS.ProcessEnv): string {
  return env.XDG_STATE_HOME ?? join(homedir(), '.local', 'state')
}

/** Where others find a server. */
interface AnnounceOptions {
  /**
   * Address that others are told to call. @defaultValue the host listened on, or this machine's
   * first address
   */
  readonly advertise?: string
  /** Told to watchers besides the process's own metadata; at most 64 entries together. */
  readonly metadata?: Readonly<Record<string, string>>
}

/** How a handler is served in the mesh. */
export interface ServeOptions extends HttpServerOptions, AnnounceOptions {}

/** How a gRPC server is served in the mesh. */
export interface ServeGrpcOptions extends GrpcServerOptions, AnnounceOptions {}

export interface ServeSettings<Options> {
  readonly server: Options
  readonly advertise: string | undefined
  /** With the process's own. */
  readonly metadata: Metadata
}

type Metadata = Readonly<Record<string, string>>

const ANNOUNCED = {
  advertise: optional(text('an IP address or a host name', HOST)),
  metadata: withDefault(METADATA, Object.freeze({})),
}
const SERVE = fields({ ...HTTP_SERVER_FIELDS.shape, ...ANNOUNCED })
const SERVE_GRPC = fields({ ...GRPC_SERVER_FIELDS.shape, ...ANNOUNCED })

/**
 * With a `--dev` registry the default host is loopback, otherwise every address of the machine.
 *
 * @throws OptionsError naming each wrong field
 */
export function resolveServeOptions(
  options: ServeOptions = {},
  dev: boolean,
  processMetadata: Metadata = {},
): ServeSettings<HttpServerOptions> {
  return resolveServing(options, dev, 'mesh.serve', SERVE, processMetadata)
}

/** The same for gRPC. @throws OptionsError naming each wrong field */
export function resolveServeGrpcOptions(
  options: ServeGrpcOptions = {},
  dev: boolean,
  processMetadata: Metadata = {},
): ServeSettings<GrpcServerOptions> {
  return resolveServing(options, dev, 'mesh.serveGrpc', SERVE_GRPC, processMetadata)
}

function resolveServing<Options extends { readonly host?: string }>(
  options: Options & AnnounceOptions,
  dev: boolean,
  what: string,
  description: AnyField<Parsed<typeof SERVE> | Parsed<typeof SERVE_GRPC>> & { readonly shape: object },
  processMetadata: Metadata,
): ServeSettings<Options> {
  assertObject(options, what)
  const given = optionsGiven(options, description.shape) as unknown as typeof options
  const { advertise: _, metadata: __, ...server } = given
  const host = server.host ?? (dev ? '127.0.0.1' : '0.0.0.0')
  const checked = check(description, { ...given, host }, what)
  const metadata = { ...processMetadata, ...checked.metadata }
  const entries = Object.keys(metadata).length
  if (entries > LIMITS.metadataEntries) {
    const message = `expected at most ${LIMITS.metadataEntries} entries together with those of joinMesh, got ${entries}`
    throw new OptionsError(what, [{ path: ['metadata'], message }])
  }
  return { server: { ...server, host } as unknown as Options, advertise: checked.advertise, metadata }
}
