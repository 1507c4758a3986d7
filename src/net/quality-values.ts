/** The weights of a header such as `accept` or `accept-encoding` (RFC 9110, 12.4.2). */

const MOST = 32

/** By name, in lower case; `1` without `q`. Of a name that is there twice, the larger. */
export function qualityValues(header: string | undefined): ReadonlyMap<string, number> {
  const weights = new Map<string, number>()
  for (const range of header?.split(',', MOST) ?? []) {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    const q = parameters.find((parameter) => parameter.startsWith('q='))
    const weight = q === undefined ? 1 : Number(q.slice(2)) || 0
    if (name !== '') weights.set(name, Math.max(weights.get(name) ?? 0, weight))
  }
  return weights
}

/** Whether an `accept-encoding` allows gzip, and does not prefer bytes as they are. */
export function acceptsGzip(header: string | undefined): boolean {
  const weights = qualityValues(header)
  const gzip = weights.get('gzip') ?? weights.get('x-gzip') ?? weights.get('*') ?? 0
  return gzip > 0 && gzip >= (weights.get('identity') ?? 0)
}
