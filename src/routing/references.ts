import type { Path } from '../options/fields.ts'
/**
 * The services and subsets that a document names: in its routes, mirrors and failover levels. It
 * reads a document as it is written, and passes over what it cannot read.
 */

/** One place where a document names a service or a subset. */
export interface Reference {
  readonly path: Path
  readonly service: string
  readonly subset: string | undefined
  readonly kind: 'route' | 'mirror' | 'failover'
}

type Json = Readonly<Record<string, unknown>>

/** Documents are immutable, and each apply reads all that are in force. */
const known = new WeakMap<object, readonly Reference[]>()

/** All references of `document`, in the order written. */
export function referencesOf(document: object): readonly Reference[] {
  let found = known.get(document)
  if (found === undefined) {
    found = Object.freeze(read(document as Json))
    known.set(document, found)
  }
  return found
}

/** The names of the subsets that `document` defines. */
export function subsetNames(document: object): readonly string[] {
  return Object.keys(objectAt(document as Json, 'subsets') ?? {})
}

function read(document: Json): Reference[] {
  const own = String(document.service)
  const found: Reference[] = []
  const add = (kind: Reference['kind'], path: Path, to: unknown): void => {
    if (typeof to === 'string') found.push({ kind, path, service: own, subset: to })
    if (!isObject(to)) return
    const { service = own, subset } = to
    if (typeof service !== 'string' || (to.service === undefined && subset === undefined)) return
    found.push({ kind, path, service, subset: typeof subset === 'string' ? subset : undefined })
  }
  const levels = (path: Path, list: unknown): void => {
    for (const [i, level] of entries(list)) add('failover', [...path, i], level)
  }
  for (const [i, route] of entries(document.routes)) {
    const at: Path = ['routes', i]
    add('route', [...at, 'to'], route.to)
    for (const [j, target] of entries(route.split)) add('route', [...at, 'split', j, 'to'], target.to)
    if (Array.isArray(route.mirror)) {
      for (const [j, mirror] of entries(route.mirror)) add('mirror', [...at, 'mirror', j, 'to'], mirror.to)
    } else if (isObject(route.mirror)) add('mirror', [...at, 'mirror', 'to'], route.mirror.to)
    levels([...at, 'failover'], route.failover)
  }
  levels(['failover'], document.failover)
  return found
}

function entries(list: unknown): (readonly [number, Json])[] {
  if (!Array.isArray(list)) return []
  return [...list.entries()].flatMap(([i, entry]) => (isObject(entry) ? [[i, entry] as const] : []))
}

function objectAt(document: Json, key: string): Json | undefined {
  const value = document[key]
  return isObject(value) ? value : undefined
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
