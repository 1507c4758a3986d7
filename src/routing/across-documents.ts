/**
 * What is wrong between documents that are each right alone: a subset that another service's
 * document does not define, and routes that lead back to where they begin.
 */

import type { Path } from '../options/fields.ts'
import { formatPath } from '../options/fields.ts'
import { didYouMean } from '../options/nearest.ts'
import { type Reference, referencesOf, subsetNames } from './references.ts'

/** More of them help no reader. */
const MOST_CYCLES = 20
/** The document of the mesh. */
const NO_SERVICE = 'mesh'

/** A mistake, and the changed document in which it is shown. */
export interface CrossIssue {
  readonly service: string
  readonly path: Path
  readonly message: string
}

/**
 * The documents after a change. `null`: the service has no document. `undefined`: it is not known
 * whether it has one, so what names it is not judged.
 */
export interface DocumentsAfter {
  /** The services whose documents the change writes or deletes. */
  readonly changed: Iterable<string>
  of(service: string): object | null | undefined
  /** The other services with a document. */
  readonly others: Iterable<string>
}

/** Every mistake that the change makes. What it does not touch is not judged again. */
export function crossIssues(documents: DocumentsAfter): CrossIssue[] {
  const changed = new Set(documents.changed)
  return [...undefinedSubsets(documents, changed), ...cycles(documents, changed)]
}

function undefinedSubsets(documents: DocumentsAfter, changed: ReadonlySet<string>): CrossIssue[] {
  const issues: CrossIssue[] = []
  for (const service of changed) {
    for (const reference of referencesIn(documents, service)) {
      if (reference.service === service) continue
      const lack = lackOf(documents, reference)
      if (lack !== undefined) issues.push({ service, path: reference.path, message: lack })
    }
  }
  for (const service of documents.others) {
    for (const reference of referencesIn(documents, service)) {
      if (changed.has(service) || !changed.has(reference.service) || reference.subset === undefined) continue
      if (lackOf(documents, reference) === undefined) continue
      const isDeleted = documents.of(reference.service) === null
      const message = `${isDeleted ? '' : `does not define '${reference.subset}', but `}${place(service, reference.path)} in force sends to its subset '${reference.subset}'`
      issues.push({ service: reference.service, path: isDeleted ? [] : ['subsets'], message })
    }
  }
  return issues
}

/** Why what a reference names does not exist; `undefined` if it does, or may. */
function lackOf(documents: DocumentsAfter, { service, subset }: Reference): string | undefined {
  if (service === NO_SERVICE) return `'${service}' has the defaults of all services, and is none`
  if (subset === undefined) return undefined
  const document = documents.of(service)
  if (document === undefined) return undefined
  if (document === null) return `there is no subset '${subset}' of '${service}', which has no document`
  const names = subsetNames(document)
  if (names.includes(subset)) return undefined
  const valid = names.length === 0 ? 'it defines none' : `valid are ${names.slice(0, 20).join(', ')}`
  return `there is no subset '${subset}' of '${service}'${didYouMean(subset, names) || `; ${valid}`}`
}

interface Step {
  readonly from: string
  readonly reference: Reference
}

/** One issue for each service that a changed document leads back to itself. */
function cycles(documents: DocumentsAfter, changed: ReadonlySet<string>): CrossIssue[] {
  const issues: CrossIssue[] = []
  const leads = leadsOf(documents, changed)
  const seen = new Set<string>()
  for (const service of changed) {
    if (issues.length >= MOST_CYCLES) break
    if (seen.has(service) || !leads.has(service)) continue
    const cycle = wayBack(leads, service)
    if (cycle === undefined) continue
    for (const { from } of cycle) seen.add(from)
    const way = cycle.map(({ from, reference: { path } }) => `${place(from, path)} -> `).join('')
    const message = `leads back to '${service}': ${way}${service}; a target may not route to the service that sends to it`
    issues.push({ service, path: cycle[0]!.reference.path, message })
  }
  return issues
}

/** Where routes and mirrors lead from each service that the changed ones reach. */
type Leads = Map<string, readonly Reference[]>

/** Without the services from which no way leads into a cycle; empty if there is none. */
function leadsOf(documents: DocumentsAfter, changed: ReadonlySet<string>): Leads {
  const leads: Leads = new Map()
  const sources = new Map<string, string[]>()
  const reached = [...changed]
  for (let service = reached.pop(); service !== undefined; service = reached.pop()) {
    if (leads.has(service)) continue
    // A level of failover means endpoints: two regions may stand in for each other.
    const leading = referencesIn(documents, service).filter((one) => one.service !== service && one.kind !== 'failover')
    leads.set(service, leading)
    for (const { service: to } of leading) {
      reached.push(to)
      const known = sources.get(to)
      if (known === undefined) sources.set(to, [service])
      else known.push(service)
    }
  }
  const open = new Map([...leads].map(([service, leading]) => [service, leading.length]))
  const ended = [...open].filter(([, count]) => count === 0).map(([service]) => service)
  for (let service = ended.pop(); service !== undefined; service = ended.pop()) {
    leads.delete(service)
    for (const source of sources.get(service) ?? []) {
      const left = open.get(source)! - 1
      open.set(source, left)
      if (left === 0) ended.push(source)
    }
  }
  return leads
}

/** The shortest way from `start` to itself. */
function wayBack(leads: Leads, start: string): Step[] | undefined {
  const arrivals = new Map<string, Step>()
  let reached = [start]
  while (reached.length > 0) {
    const next: string[] = []
    for (const from of reached) {
      for (const reference of leads.get(from) ?? []) {
        const to = reference.service
        if (to === start) return [...wayTo(arrivals, from), { from, reference }]
        if (arrivals.has(to)) continue
        arrivals.set(to, { from, reference })
        next.push(to)
      }
    }
    reached = next
  }
  return undefined
}

function wayTo(arrivals: ReadonlyMap<string, Step>, service: string): Step[] {
  const way: Step[] = []
  for (let step = arrivals.get(service); step !== undefined; step = arrivals.get(step.from)) way.unshift(step)
  return way
}

function referencesIn(documents: DocumentsAfter, service: string): readonly Reference[] {
  const document = documents.of(service)
  return document ? referencesOf(document) : []
}

function place(service: string, path: Path): string {
  return `${service} (${formatPath(path)})`
}
