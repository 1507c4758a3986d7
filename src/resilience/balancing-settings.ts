/**
 * How the endpoint of an attempt is chosen, as users and documents say it. The balancers themselves
 * are in `client/balancing`.
 */
import type { HashKey } from '../core/call.ts'
import type { Duration } from '../options/duration.ts'
import { either, exactly, type Field, fields, oneOf, optional, type Parsed, text } from '../options/fields.ts'
import { duration, integer } from '../options/quantities.ts'

/** The balancers that can be asked for by name. */
export const BALANCER_NAMES = [
  'peak-ewma',
  'least-request',
  'round-robin',
  'weighted-round-robin',
  'ring-hash',
  'maglev',
] as const
export type BalancerName = (typeof BALANCER_NAMES)[number]

/** Those that send calls with the same key to the same endpoint. */
export const HASHING_BALANCERS: ReadonlySet<BalancerName> = new Set(['ring-hash', 'maglev'])

/**
 * Which part of a request is its key for `ring-hash` and `maglev`: the first that the request has
 * of header, cookie and path. The option `key` of a request wins over all. A request without a key
 * goes to any endpoint.
 */
export interface HashKeyOptions {
  /** The value of a request header. */
  readonly header?: string
  /** The value of a cookie that the request carries. */
  readonly cookie?: string
  /** The path, without its query. */
  readonly path?: true
}

/** A balancer with what it needs to know. */
export interface BalancerOptions {
  readonly name: BalancerName
  /** For `ring-hash` and `maglev` only. @defaultValue only the option `key` of each request */
  readonly key?: HashKeyOptions
}

/** How many endpoints one client uses. */
export interface SubsetOptions {
  /** Endpoints per client; all if there are fewer. 20 or more keep the load even. */
  readonly size: number
}

/** Who gets the next attempt. */
export interface BalancingOptions {
  /**
   * Who chooses the endpoint: a name, or an object with the name and a `key`. @defaultValue
   * `'peak-ewma'`
   */
  readonly balancer?: BalancerName | BalancerOptions
  /**
   * `prefer`: calls stay in this process's zone while its endpoints can bear them, if all zones are
   * known.
   * @defaultValue `'prefer'`; `'ignore'` with `ring-hash` and `maglev`, whose keys would have one
   * endpoint per zone
   */
  readonly zone?: 'prefer' | 'ignore'
  /**
   * Each client uses only so many endpoints, others than the next client. @defaultValue `false`:
   * all
   */
  readonly subset?: SubsetOptions | false
  /**
   * For so long after its discovery an endpoint gets less than its share: a tenth at first, then in
   * proportion to its age.
   * @defaultValue `false`: the default balancer finds out by itself who is slow
   */
  readonly slowStart?: Duration | false
}

export interface BalancingSettings {
  readonly balancer: BalancerName
  /** `undefined`: no key is taken from requests. */
  readonly hashKey: HashKey | undefined
  readonly zone: 'prefer' | 'ignore'
  /** `undefined`: all endpoints. */
  readonly subsetSize: number | undefined
  /** 0: none. */
  readonly slowStartMs: number
}

export const BALANCING_DEFAULTS: BalancingSettings = Object.freeze({
  balancer: 'peak-ewma',
  hashKey: undefined,
  zone: 'prefer',
  subsetSize: undefined,
  slowStartMs: 0,
})

/** RFC 9110, 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

const KEY_FIELDS = fields({
  header: optional(text('the name of a request header', TOKEN, 128)),
  cookie: optional(text('the name of a cookie', TOKEN, 128)),
  // Not false: then what a service's document adds to that of `mesh` could leave nothing.
  path: optional(exactly(true)),
})
const NAME = oneOf(BALANCER_NAMES)
const OBJECT = fields({ name: NAME, key: optional(withAnyOf(KEY_FIELDS)) })

/** Keyed by the shape of what is given, so that a mistake is told in terms of that shape. */
const BALANCER: Field<Parsed<typeof NAME> | Parsed<typeof OBJECT>> = {
  optional: true,
  schema: { anyOf: [NAME.schema, OBJECT.schema], default: BALANCING_DEFAULTS.balancer },
  parse(value, path, issues) {
    if (value === undefined) return BALANCING_DEFAULTS.balancer
    return typeof value === 'object' && value !== null
      ? OBJECT.parse(value, path, issues)
      : NAME.parse(value, path, issues)
  },
}

function withAnyOf<T extends object>(inner: Field<T>): Field<T> {
  return {
    ...inner,
    schema: { ...inner.schema, minProperties: 1 },
    parse(value, path, issues) {
      const before = issues.length
      const parsed = inner.parse(value, path, issues)
      if (issues.length === before && Object.values(parsed).every((entry) => entry === undefined)) {
        issues.push({ path, message: `is empty; expected at least one of ${Object.keys(parsed).join(', ')}` })
      }
      return parsed
    },
  }
}

/** To be spread into the description of a service's document. */
export const BALANCING_FIELDS = {
  balancer: BALANCER,
  zone: optional(oneOf(['prefer', 'ignore'])),
  subset: optional(either(exactly(false), fields({ size: integer({ min: 1, max: 100_000 }) }))),
  slowStart: optional(either(exactly(false), duration({ min: 1, max: 3_600_000 }))),
} as const

type Given = { readonly [K in keyof typeof BALANCING_FIELDS]: Parsed<(typeof BALANCING_FIELDS)[K]> }

/** From checked fields to settings. */
export function balancingSettings(given: Given): BalancingSettings {
  const { balancer } = given
  const name = typeof balancer === 'string' ? balancer : balancer.name
  const key = typeof balancer === 'string' ? undefined : balancer.key
  const hashing = HASHING_BALANCERS.has(name)
  return {
    balancer: name,
    hashKey:
      !hashing || key === undefined
        ? undefined
        : Object.freeze({ header: key.header?.toLowerCase(), cookie: key.cookie, path: key.path === true }),
    zone: given.zone ?? (hashing ? 'ignore' : 'prefer'),
    subsetSize: given.subset === undefined || given.subset === false ? undefined : given.subset.size,
    slowStartMs: given.slowStart === undefined || given.slowStart === false ? 0 : given.slowStart,
  }
}
