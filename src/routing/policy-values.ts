/**
 * The policies that are in force for a call, value by value, each with the document it comes from.
 * Values are as they are written; the merge is the one of documents: key by key, lists whole.
 */
import { DEFAULT_TRANSPORT, type TransportPreference } from '../core/transport.ts'
import { parseDuration } from '../options/duration.ts'
import type { JsonSchema } from '../options/fields.ts'
import { SERVICE } from '../resilience/settings.ts'

/** `default`: no document says anything. */
export type PolicyOrigin = 'default' | 'mesh' | 'service' | 'route'

/** One value in force. */
export interface PolicyValue {
  /** Such as `retry.attempts`. */
  readonly key: string
  /** As it is written in a document, or its default. `false`: the policy is off. */
  readonly value: unknown
  readonly from: PolicyOrigin
  /** The key whose value holds here, because what is written does not fit it. */
  readonly boundBy?: string
}

/** What is written, the strongest last. `null`: there is no such document or route. */
export interface PolicyLayers {
  readonly mesh: object | null
  readonly service: object | null
  readonly route: object | null
  /** Where no document says anything. @defaultValue that of a process without the option */
  readonly transport?: TransportPreference
}

type Json = Readonly<Record<string, unknown>>
/** By key, a value or the tree of its keys. */
type Tree = Map<string, Tree | Leaf>
interface Leaf {
  readonly value: unknown
  readonly from: PolicyOrigin
}

/** The policies of a caller, in the order of the pages of documentation. */
const KEYS = [
  'timeout',
  'idleTimeout',
  'retry',
  'hedge',
  'circuitBreaker',
  'throttle',
  'ejection',
  'healthCheck',
  'balancer',
  'zone',
  'subset',
  'slowStart',
  'transport',
] as const satisfies readonly (keyof typeof SERVICE.shape)[]

/** Of `zone`, which depends on the balancer. */
const HASHING = /^(?:ring-hash|maglev)$/

/** Every value, defaults included. */
export function policyValues({ mesh, service, route, transport = DEFAULT_TRANSPORT }: PolicyLayers): PolicyValue[] {
  const tree: Tree = new Map()
  for (const [document, from] of [
    [mesh, 'mesh'],
    [service, 'service'],
    [route, 'route'],
  ] as const) {
    for (const key of KEYS) put(tree, key, (document as Json | null)?.[key], from)
  }
  for (const key of KEYS) {
    const isOn = SERVICE.defaults[`${key}` as keyof typeof SERVICE.defaults] !== undefined
    fill(tree, key, SERVICE.shape[key].schema, isOn)
  }
  if (!tree.has('zone')) {
    const { value } = (leafAt(tree, 'balancer') ?? { value: '' }) as Leaf
    tree.set('zone', { value: HASHING.test(String(value)) ? 'ignore' : 'prefer', from: 'default' })
  }
  if (!tree.has('transport')) tree.set('transport', { value: transport, from: 'default' })
  const values = KEYS.flatMap((key) => leaves(tree, key, key))
  bound(values, 'retry.perTryTimeout', (ms, limit) => ms > limit, 'timeout')
  bound(values, 'retry.backoff.max', (ms, least) => ms < least, 'retry.backoff.base')
  return values
}

/** Values of two documents may not fit each other: then `other` holds for both. */
function bound(
  values: PolicyValue[],
  key: string,
  exceeds: (ms: number, other: number) => boolean,
  other: string,
): void {
  const at = values.findIndex((one) => one.key === key)
  const by = values.find((one) => one.key === other)
  const [ms, otherMs] = [parseDuration(values[at]?.value), parseDuration(by?.value)]
  if (by === undefined || ms === undefined || otherMs === undefined || !exceeds(ms, otherMs)) return
  values[at] = { key, value: by.value, from: by.from, boundBy: other }
}

function put(tree: Tree, key: string, value: unknown, from: PolicyOrigin): void {
  if (value === undefined) return
  if (!isObject(value)) {
    tree.set(key, { value, from })
    return
  }
  const below = tree.get(key)
  const inner: Tree = below instanceof Map ? below : new Map()
  tree.set(key, inner)
  for (const [name, entry] of Object.entries(value)) put(inner, name, entry, from)
}

/** Adds the defaults of what is not written. `isOn`: whether an absent policy is in force. */
function fill(tree: Tree, key: string, schema: JsonSchema, isOn: boolean): void {
  const known = tree.get(key)
  if (known !== undefined && !(known instanceof Map)) return
  const properties = propertiesOf(schema)
  if (known === undefined && schema.default !== undefined && !isObject(schema.default)) {
    tree.set(key, { value: schema.default, from: 'default' })
    return
  }
  if (known === undefined && (properties === undefined || !isOn)) {
    if (key !== 'zone' && offByFalse(schema)) tree.set(key, { value: false, from: 'default' })
    return
  }
  const ordered: Tree = new Map()
  for (const [name, part] of Object.entries(properties ?? {})) {
    const inner = known?.get(name)
    if (inner !== undefined) ordered.set(name, inner)
    fill(ordered, name, part, true)
  }
  tree.set(key, ordered)
}

/** Of an object, or of the object among the alternatives. */
function propertiesOf(schema: JsonSchema): Readonly<Record<string, JsonSchema>> | undefined {
  if (schema.properties !== undefined) return schema.properties as Record<string, JsonSchema>
  const objects = (schema.anyOf as JsonSchema[] | undefined)?.filter((one) => one.properties !== undefined)
  return objects?.at(-1)?.properties as Record<string, JsonSchema> | undefined
}

function offByFalse(schema: JsonSchema): boolean {
  return (schema.anyOf as JsonSchema[] | undefined)?.some((one) => one.const === false) === true
}

function leaves(tree: Tree, key: string, path: string): PolicyValue[] {
  const found = tree.get(key)
  if (found === undefined) return []
  if (!(found instanceof Map)) return [{ key: path, ...found }]
  return [...found.keys()].flatMap((name) => leaves(found, name, `${path}.${name}`))
}

function leafAt(tree: Tree, key: string): Leaf | undefined {
  const found = tree.get(key)
  const leaf = found instanceof Map ? found.get('name') : found
  return leaf instanceof Map ? undefined : leaf
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
