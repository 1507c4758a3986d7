/** A host name in lower case, without the dot that ends a fully qualified one. */
export function bareHost(host: string): string {
  const lower = host.toLowerCase()
  return lower.endsWith('.') ? lower.slice(0, -1) : lower
}
