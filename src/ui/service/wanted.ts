/** The routes of a document, as far as the page shows them: read with care, texts of others. */

export interface WantedRoute {
  readonly name: string
  /** When it applies; empty: always. */
  readonly when: string
  /** By target; `null`: it sends nowhere, or all to one. */
  readonly shares: Readonly<Record<string, number>> | null
  readonly to: string | undefined
}

export function wantedRoutes(routes: unknown): WantedRoute[] {
  if (!Array.isArray(routes)) return []
  return routes.filter(isRecord).map((route, i) => ({
    name: typeof route.name === 'string' ? route.name : `routes[${i}]`,
    when: describeMatch(route.match),
    shares: sharesOf(route.split),
    to: typeof route.to === 'string' ? route.to : isRecord(route.to) ? targetOf(route.to) : undefined,
  }))
}

function sharesOf(split: unknown): Record<string, number> | null {
  if (!Array.isArray(split)) return null
  const targets = split.filter(isRecord).map((one) => [targetOf(one), Number(one.weight) || 0] as const)
  const sum = targets.reduce((all, [, weight]) => all + weight, 0)
  return sum === 0 ? null : Object.fromEntries(targets.map(([name, weight]) => [name, weight / sum]))
}

function targetOf({ to, version, service, subset }: Readonly<Record<string, unknown>>): string {
  const target = isRecord(to) ? to : { to, version, service, subset }
  const names = [target.service, target.subset, target.version, target.to].filter((one) => typeof one === 'string')
  return names.length === 0 ? 'all' : names.join(' ')
}

function describeMatch(match: unknown): string {
  if (match === undefined) return ''
  const alternatives = Array.isArray(match) ? match : [match]
  return alternatives
    .map((one) =>
      isRecord(one)
        ? Object.entries(one)
            .map(([key, value]) => `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
            .join(', ')
        : String(one),
    )
    .join(' or ')
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
