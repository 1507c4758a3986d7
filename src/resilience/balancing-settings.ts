/**
 * The options of balancing: which endpoint gets an attempt, out of which. The balancers are in
 * `client/balancing`.
 */
import type { HashKey } from '../core/call.ts'
import { TOKEN } from '../core/headers.ts'
import { either } from '../options/composed-fields.ts'
import {
  exactly,
  type Field,
  fields,
  type OptionalField,
  oneOf,
  optional,
  type Parsed,
  text,
} from '../options/fields.ts'
import { duration, integer } from '../options/quantities.ts'
import { definePolicy, type OptionsOf, type PolicyDefinition, type SettingsOfShape } from './define-policy.ts'

/** The balancers that can be asked for by name. */
export const BALANCER_NAMES = [
  'least-load',
  'peak-ewma',
  'least-request',
  'round-robin',
  'weighted-round-robin',
  'ring-hash',
  'maglev',
] as const
export type BalancerName = (typeof BALANCER_NAMES)[number]

/** The one that may use reported weights. */
export const WEIGHTED_BALANCER: BalancerName = 'weighted-round-robin'

/** Those that send calls with the same key to the same endpoint. */
export const HASHING_BALANCERS: ReadonlySet<BalancerName> = new Set(['ring-hash', 'maglev'])

const subset = fields({
  /** Endpoints per client; all if there are fewer. 20 or more keep the load even. */
  size: integer({ min: 1, max: 100_000 }),
})
/** The number of endpoints that one client uses. */
export interface SubsetOptions extends OptionsOf<typeof subset> {}
const SUBSET: Field<Parsed<typeof subset>, SubsetOptions> = subset

/** Where `weighted-round-robin` has its weights from. */
const WEIGHTS = ['registered', 'reported'] as const

const hashKey = fields({
  /** The value of this request header. @defaultValue none */
  header: optional(text('the name of a request header', TOKEN, 128)),
  /** The value of this cookie of the request. @defaultValue none */
  cookie: optional(text('the name of a cookie', TOKEN, 128)),
  /** `true`: the path, without its query. @defaultValue none */
  // Not false: then what a service's document adds to that of `mesh` could leave nothing.
  path: optional(exactly(true)),
})
/**
 * The part of a request that is its key for `ring-hash` and `maglev`: the first that the request
 * has of header, cookie and path. The option `key` of a request wins over all. A request without a
 * key goes to any endpoint.
 */
export interface HashKeyOptions extends OptionsOf<typeof hashKey> {}
const HASH_KEY: Field<Parsed<typeof hashKey>, HashKeyOptions> = hashKey

const NAME = oneOf(BALANCER_NAMES)
const DEFAULT_BALANCER: BalancerName = 'least-load'
const OBJECT = fields({
  /** The name of a balancer. */
  name: NAME,
  /**
   * For `ring-hash` and `maglev`: the part of a request that is its key, at least one of the next
   * three. Of several, the first that the request has. @defaultValue only the option `key` of each
   * request
   */
  key: optional(withAnyOf(HASH_KEY)),
  /**
   * For `weighted-round-robin`: `registered`, the weight that each endpoint registers, or
   * `reported`, times how many requests a second its server can serve, by its load reports.
   * @defaultValue `'registered'`
   */
  weights: optional(oneOf(WEIGHTS)),
})
/** A balancer by its name, with the key that it hashes or the weights that it uses. */
export interface BalancerOptions extends OptionsOf<typeof OBJECT> {}

/** Checks by the shape of the value, so that messages are in terms of that shape. */
const BALANCER: OptionalField<Parsed<typeof NAME> | Parsed<typeof OBJECT>, BalancerName | BalancerOptions> = {
  optional: true,
  schema: { anyOf: [NAME.schema, OBJECT.schema], default: DEFAULT_BALANCER },
  parse(value, path, issues) {
    if (value === undefined) return DEFAULT_BALANCER
    return typeof value === 'object' && value !== null
      ? OBJECT.parse(value, path, issues)
      : NAME.parse(value, path, issues)
  },
}

function withAnyOf<T extends object, I>(inner: Field<T, I>): Field<T, I> {
  return {
    optional: false,
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

/** The fields of {@link BALANCING}, which the options of a service contain. */
export const BALANCING_FIELDS = {
  /**
   * The balancer, which chooses the endpoint of each attempt: a name, or an object with the name
   * and a `key` or `weights`. @defaultValue `'least-load'`
   */
  balancer: BALANCER,
  /**
   * `prefer`: calls stay in this process's zone while its endpoints can bear them, if all zones are
   * known.
   * @defaultValue `'prefer'`; `'ignore'` with `ring-hash` and `maglev`, whose keys would have one
   * endpoint per zone
   */
  zone: optional(oneOf(['prefer', 'ignore'])),
  /**
   * Each client uses only this many endpoints, others than the next client.
   * @defaultValue `false`: all
   */
  subset: optional(either(exactly(false), SUBSET)),
  /**
   * How long after its discovery an endpoint gets less than its share: a tenth at first, then in
   * proportion to its age.
   * @defaultValue `false`: the default balancer detects by itself which endpoints are slow
   */
  slowStart: optional(either(exactly(false), duration({ min: 1, max: 3_600_000 }))),
} as const

/** The balancing of a service. */
export interface BalancingSettings {
  readonly balancer: BalancerName
  /** `weighted-round-robin` uses the load reports of servers. */
  readonly reportedWeights: boolean
  /** `undefined`: no key is taken from requests. */
  readonly hashKey: HashKey | undefined
  readonly zone: 'prefer' | 'ignore'
  /** `undefined`: all endpoints. */
  readonly subsetSize: number | undefined
  /** 0: none. */
  readonly slowStartMs: number
}

/** From the settings of {@link BALANCING_FIELDS}: zone and key depend on the balancer. */
export function balancingSettings(given: SettingsOfShape<typeof BALANCING_FIELDS>): BalancingSettings {
  const { balancer, zone, slowStartMs } = given
  const name = typeof balancer === 'string' ? balancer : balancer.name
  const key = typeof balancer === 'string' ? undefined : balancer.key
  const hashing = HASHING_BALANCERS.has(name)
  const weights = typeof balancer === 'string' ? undefined : balancer.weights
  return {
    balancer: name,
    reportedWeights: name === WEIGHTED_BALANCER && weights === 'reported',
    hashKey:
      !hashing || key === undefined
        ? undefined
        : Object.freeze({ header: key.header?.toLowerCase(), cookie: key.cookie, path: key.path === true }),
    zone: zone ?? (hashing ? 'ignore' : 'prefer'),
    subsetSize: given.subset === undefined || given.subset === false ? undefined : given.subset.size,
    slowStartMs: slowStartMs === undefined || slowStartMs === false ? 0 : slowStartMs,
  }
}

const definition = definePolicy('balancing', BALANCING_FIELDS, balancingSettings)

/** The choice of the endpoint of the next attempt. */
export interface BalancingOptions extends OptionsOf<typeof definition> {}
export const BALANCING: PolicyDefinition<BalancingOptions, BalancingSettings> = definition
