/**
 * What is valid and sends to no instance now: a subset that none is in, a target that none runs of.
 * Instances come and go, so this is a warning and never refuses a document.
 */
import type { Path } from '../options/fields.ts'
import { referencesOf, subsetNames } from './references.ts'

/** Where in a document, and what no instance is there for. */
export interface Warning {
  readonly service: string
  readonly path: Path
  readonly message: string
}

/** An instance, as subsets choose it. */
interface Chosen {
  readonly version: string | undefined
  readonly metadata: Readonly<Record<string, string>>
}

interface Subset {
  readonly version?: unknown
  readonly metadata?: Readonly<Record<string, unknown>>
}

/** The documents in force, and what runs. */
export interface Inventory {
  /** `undefined`: the service has no document. */
  document(service: string): object | undefined
  /** `undefined`: the service is not known at all. */
  instances(service: string): Iterable<Chosen> | undefined
}

/** The warnings of a checked document; empty if each of its targets has an instance. */
export function instanceWarnings(document: object, inventory: Inventory): Warning[] {
  const { service } = document as { service: string }
  const warnings: Warning[] = []
  for (const name of subsetNames(document)) {
    if (hasInstance(document, name, inventory.instances(service))) continue
    warnings.push({ service, path: ['subsets', name], message: `no instance of '${service}' is in this subset now` })
  }
  for (const { path, service: target, subset } of referencesOf(document)) {
    if (target === service) continue
    const message = lack(target, subset, inventory)
    if (message !== undefined) warnings.push({ service, path, message })
  }
  return warnings
}

function lack(target: string, subset: string | undefined, inventory: Inventory): string | undefined {
  const instances = inventory.instances(target)
  const other = inventory.document(target)
  if (instances === undefined && other === undefined) return `no service '${target}' is known`
  if ([...(instances ?? [])].length === 0) return `no instance of '${target}' runs now`
  if (subset === undefined || other === undefined || hasInstance(other, subset, instances)) return undefined
  return `no instance of '${target}' is in its subset '${subset}' now`
}

function hasInstance(document: object, name: string, instances: Iterable<Chosen> | undefined): boolean {
  const { version, metadata = {} } = (document as { subsets: Record<string, Subset> }).subsets[name] ?? {}
  for (const instance of instances ?? []) {
    const isIn =
      (version === undefined || instance.version === version) &&
      Object.entries(metadata).every(([key, value]) => instance.metadata[key] === value)
    if (isIn) return true
  }
  return false
}
