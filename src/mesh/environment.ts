/** Options of `joinMesh` from `INMESH_*` variables. */
import type { TransportPreference } from '../core/transport.ts'
import type { Duration } from '../options/duration.ts'
import { OptionsError } from '../options/fields.ts'
import { givenTwice, warnOfFormerName } from '../options/former-names.ts'
import { nearest } from '../options/nearest.ts'
import type { AdminOptions } from '../telemetry/admin-access.ts'
import type { MeshOptions } from './options.ts'

/** Which variable each option can come from. */
const VARIABLES: Partial<Record<keyof MeshOptions, string>> = {
  service: 'INMESH_SERVICE',
  registry: 'INMESH_REGISTRY',
  joinToken: 'INMESH_JOIN_TOKEN',
  joinTokenFile: 'INMESH_JOIN_TOKEN_FILE',
  stateDir: 'INMESH_STATE_DIR',
  zone: 'INMESH_ZONE',
  version: 'INMESH_VERSION',
  weight: 'INMESH_WEIGHT',
  joinTimeout: 'INMESH_JOIN_TIMEOUT',
  startWithoutRegistry: 'INMESH_START_WITHOUT_REGISTRY',
  transport: 'INMESH_TRANSPORT',
  sameHost: 'INMESH_SAME_HOST',
  traffic: 'INMESH_TRAFFIC',
  tap: 'INMESH_TAP',
  adminPort: 'INMESH_ADMIN_PORT',
}

/** Former variables, by option. */
const FORMER_VARIABLES: Partial<Record<keyof MeshOptions, string>> = {
  startWithoutRegistry: 'INMESH_START_WITHOUT',
}

/**
 * Trims white space around a value and takes an empty one for none: files, shells and orchestrators
 * make both.
 *
 * @throws OptionsError if a variable is given by both of its names
 */
export function fromEnvironment(env: NodeJS.ProcessEnv): MeshOptions {
  const given = (option: keyof MeshOptions): string | undefined => {
    const value = variableOf(env, VARIABLES[option]!)
    const former = FORMER_VARIABLES[option]
    const formerValue = former === undefined ? undefined : variableOf(env, former)
    if (formerValue === undefined) return value
    if (value !== undefined) throw new OptionsError('joinMesh', [givenTwice(former!, VARIABLES[option]!)])
    warnOfFormerName('joinMesh', former!, VARIABLES[option]!)
    return formerValue
  }
  const all = {
    service: given('service'),
    registry: addresses(given('registry')),
    joinToken: given('joinToken'),
    joinTokenFile: given('joinTokenFile'),
    stateDir: given('stateDir'),
    zone: given('zone'),
    version: given('version'),
    weight: numeric(given('weight')),
    joinTimeout: numeric<Duration>(given('joinTimeout')),
    startWithoutRegistry: logical(given('startWithoutRegistry')),
    transport: given('transport') as TransportPreference | undefined,
    sameHost: logical(given('sameHost')),
    traffic: logical(given('traffic')),
    tap: logical(given('tap')),
    adminPort: numeric(given('adminPort')),
    admin: adminFrom(env),
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as MeshOptions
}

/** Of the admin listener; its port is an option. `INMESH_ADMIN_TOKEN` is an operator's token. */
const ADMIN_VARIABLES = {
  host: 'INMESH_ADMIN_HOST',
  allow: 'INMESH_ADMIN_ALLOW',
  token: 'INMESH_ADMIN_LISTENER_TOKEN',
} as const

function adminFrom(env: NodeJS.ProcessEnv): AdminOptions | undefined {
  const { host, allow, token } = ADMIN_VARIABLES
  const given = {
    host: variableOf(env, host),
    allow: variableOf(env, allow)
      ?.split(',')
      .map((network) => network.trim()),
    token: variableOf(env, token),
  }
  const found = Object.entries(given).filter(([, value]) => value !== undefined)
  return found.length === 0 ? undefined : Object.fromEntries(found)
}

function variableOf(env: NodeJS.ProcessEnv, variable: string): string | undefined {
  return env[variable]?.trim() || undefined
}

const PREFIX = 'INMESH_'
/** Kubernetes sets these for every service, also for one whose name begins with `inmesh`. */
const OF_KUBERNETES = /_(?:SERVICE_(?:HOST|PORT\w*)|PORT(?:_\d+_\w+)?)$/
/** Of commands, and of INMESH_DEBUG. */
const WITHOUT_OPTION = ['INMESH_ADMIN_TOKEN', 'INMESH_DEBUG', 'INMESH_DEBUG_FORMAT']
/** `inmesh/auto` checks its variables itself. */
const OF_AUTO = /^INMESH_AUTO(?:_|$)/
const told = new Set<string>()

/**
 * Warns once of each variable that resembles one of ours, or an option without a variable; any
 * other may belong to other software. `options`: all names of joinMesh.
 */
export function warnOfStrangers(env: NodeJS.ProcessEnv, options: readonly string[]): void {
  const names = [...Object.values(VARIABLES), ...Object.values(ADMIN_VARIABLES), ...WITHOUT_OPTION]
  const words = names.map((name) => name.slice(PREFIX.length))
  const former = Object.values(FORMER_VARIABLES)
  for (const name of Object.keys(env)) {
    if (!name.startsWith(PREFIX) || told.has(name)) continue
    const word = name.slice(PREFIX.length)
    if (words.includes(word) || former.includes(name) || OF_KUBERNETES.test(name) || OF_AUTO.test(name)) continue
    const option = options.find((each) => each.replace(/[A-Z]/g, '_$&').toUpperCase() === word)
    const meant = nearest(word, words)
    if (option === undefined && meant === undefined) continue
    told.add(name)
    const hint = option === undefined ? `did you mean ${PREFIX}${meant}?` : `give joinMesh the option ${option}`
    process.emitWarning(`the variable ${name} has no effect; ${hint}`, {
      type: 'InmeshWarning',
      code: 'INMESH_VARIABLE',
    })
  }
}

/**
 * Adds the variable to an error about one of `options`, which came from variables, and about a
 * service that was not given at all.
 */
export function namingVariables(error: unknown, noService: boolean, options: readonly string[]): unknown {
  if (!(error instanceof OptionsError)) return error
  const issues = error.issues.map((issue) => {
    const option = issue.path[0] as keyof MeshOptions | undefined
    if (option === 'service' && noService) {
      return { ...issue, message: "is missing; give joinMesh({ service: 'checkout' }), or set INMESH_SERVICE" }
    }
    const variable = option !== undefined && options.includes(option) ? VARIABLES[option] : undefined
    return variable === undefined ? issue : { ...issue, message: `${issue.message} (from ${variable})` }
  })
  return new OptionsError('joinMesh', issues)
}

/** A single address stays text, so that an error shows it as it was given. */
function addresses(value: string | undefined): string | string[] | undefined {
  return value?.includes(',') === true ? value.split(',').map((address) => address.trim()) : value
}

/** A value that is no number stays text, so that the check can name it. */
function numeric<T extends number | Duration = number>(value: string | undefined): T | undefined {
  return (value !== undefined && /^\d+$/.test(value) ? Number(value) : value) as T | undefined
}

function logical(value: string | undefined): boolean | undefined {
  return (value === 'true' || value === '1' ? true : value === 'false' || value === '0' ? false : value) as
    | boolean
    | undefined
}
