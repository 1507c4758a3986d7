/**
 * New weights for the splits of a document: some targets get shares, the others keep their
 * proportions. The rest of the document stays as it is written.
 */
import { type Issue, OptionsError } from '../options/fields.ts'
import { didYouMean } from '../options/nearest.ts'
import { shareOut } from './share-out.ts'

/** The weights of one route's split by target, before and after. */
export interface WeightChange {
  readonly route: string
  readonly before: Readonly<Record<string, number>>
  readonly after: Readonly<Record<string, number>>
}

export interface Reweighed<D> {
  readonly document: D
  readonly routes: readonly WeightChange[]
}

interface Split {
  readonly route: string
  readonly targets: readonly string[]
  readonly weights: readonly number[]
  set(weights: readonly number[]): void
}

type Json = Record<string, unknown>

/** A share of 100 % in all, with at most two decimals. */
const PERCENT = (share: number): boolean =>
  share >= 0 && share <= 100 && Math.abs(share * 100 - Math.round(share * 100)) < 1e-6

/**
 * Gives targets of one route's split their shares in percent. The others share the rest in their
 * proportions.
 *
 * @throws OptionsError naming what is wrong, with the valid routes or targets
 * @example
 * ```ts
 * // 90 and 10 become 75 and 25
 * splitRoute(document, 'item-pages', { green: 25 })
 * ```
 */
export function splitRoute<D extends object>(
  document: D,
  route: string,
  shares: Readonly<Record<string, number>>,
): Reweighed<D> {
  refuseOfManifest(document, route, 'split')
  const { copy, splits } = open(document, 'split')
  const split = find(copy, splits, route, 'split')
  const wanted = new Map<number, number>()
  const issues: Issue[] = []
  for (const [name, share] of Object.entries(shares)) {
    const at = split.targets.indexOf(name)
    const path = ['shares', name]
    if (at < 0) issues.push({ path, message: `no target of route '${route}'${hint(name, split.targets)}` })
    else if (!PERCENT(share)) {
      issues.push({ path, message: `expected a share from 0 to 100 percent, with at most two decimals, got ${share}` })
    } else wanted.set(at, Math.round(share * 100))
  }
  if (issues.length > 0) throw new OptionsError('split', issues)
  const weights = shareOut(split.weights, wanted)
  if (typeof weights === 'string') {
    const names = split.targets.filter((_, i) => !wanted.has(i)).join(', ')
    throw mistake('split', 'shares', names === '' ? weights : `${weights} (${names})`)
  }
  return { document: copy, routes: [put(split, weights)] }
}

/**
 * Gives all traffic of a split to one of its targets: of one route, or of each route that has the
 * target in its split.
 *
 * @throws OptionsError naming what is wrong, with the valid routes or targets
 */
export function switchRoutes<D extends object>(document: D, target: string, route?: string): Reweighed<D> {
  if (route !== undefined) refuseOfManifest(document, route, 'switch')
  const { copy, splits } = open(document, 'switch')
  const found = route === undefined ? splits : [find(copy, splits, route, 'switch')]
  const having = found.filter(({ targets }) => targets.includes(target))
  if (having.length === 0) {
    const valid = [...new Set(found.flatMap(({ targets }) => targets))]
    const where = route === undefined ? 'in no split of this service' : `no target of route '${route}'`
    throw mistake('switch', 'target', `'${target}' is ${where}${hint(target, valid)}`)
  }
  const routes = having.map((split) => {
    const wanted = new Map(split.targets.map((name, i) => [i, name === target ? 10_000 : 0]))
    return put(split, shareOut(split.weights, wanted) as readonly number[])
  })
  return { document: copy, routes }
}

/**
 * `green`, `service:inventory-eu` or `service:inventory-eu/green`; `service:<own>` for the service
 * as it is.
 */
function targetName(own: unknown, to: unknown): string {
  if (typeof to === 'string') return to
  const { service, subset } = (to ?? {}) as { service?: string; subset?: string }
  if (subset !== undefined && (service === undefined || service === own)) return subset
  return subset === undefined ? `service:${service}` : `service:${service}/${subset}`
}

function open<D extends object>(document: D, what: string): { copy: D; splits: Split[] } {
  const copy = structuredClone(document)
  const { service: own } = document as { service?: string }
  const splits = routesOf(copy).flatMap(({ name, split }): Split[] => {
    if (!Array.isArray(split)) return []
    const entries = split as Json[]
    return [
      {
        route: String(name),
        targets: entries.map(({ to }) => targetName(own, to)),
        weights: entries.map(({ weight }) => Number(weight)),
        set: (weights) => {
          for (const [i, weight] of weights.entries()) entries[i]!.weight = weight
        },
      },
    ]
  })
  if (splits.length > 0) return { copy, splits }
  throw mistake(
    what,
    'route',
    `no route of '${own}' has a split: give one \`split\` instead of \`to\`, and change Gateway manifests where they are written`,
  )
}

/** The routes of manifests have the names of their objects, with a `/`. */
function refuseOfManifest(document: object, name: string, what: string): void {
  if (!name.includes('/') || routesOf(document).some((route) => route.name === name)) return
  const message = `'${name}' comes from a Gateway manifest; change the weights of its backendRefs there, and apply it`
  throw mistake(what, 'route', message)
}

function find(document: object, splits: readonly Split[], name: string, what: string): Split {
  const found = splits.find(({ route }) => route === name)
  if (found !== undefined) return found
  if (routesOf(document).some((route) => route.name === name)) {
    throw mistake(
      what,
      'route',
      `'${name}' has no split; give it \`split\` instead of \`to\`, or choose a route that has`,
    )
  }
  throw mistake(
    what,
    'route',
    `there is no route '${name}'${hint(
      name,
      splits.map(({ route }) => route),
    )}`,
  )
}

function put(split: Split, weights: readonly number[]): WeightChange {
  split.set(weights)
  const by = (values: readonly number[]) => Object.fromEntries(split.targets.map((name, i) => [name, values[i]!]))
  return { route: split.route, before: by(split.weights), after: by(weights) }
}

function routesOf(document: object): readonly Json[] {
  const { routes } = document as { routes?: unknown }
  return Array.isArray(routes) ? (routes as Json[]) : []
}

function hint(name: string, valid: readonly string[]): string {
  return didYouMean(name, valid) || `; valid ${valid.length === 1 ? 'is' : 'are'} ${valid.join(', ')}`
}

function mistake(what: string, key: string, message: string): OptionsError {
  return new OptionsError(what, [{ path: [key], message }])
}
