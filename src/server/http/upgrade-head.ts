/** Tells upgrades for the application from ordinary requests that carry an `Upgrade` header. */

/** Protocols that clients offer with ordinary requests (RFC 9110, 7.8). */
const ORDINARY = /^(?:h2c|http|tls)(?:\/|$)/i

/**
 * A request is ordinary if it has a body, uses HTTP/1.0, offers only versions of HTTP or TLS, or if
 * the application has no listener (`listens`).
 */
export function wantsUpgrade(httpVersionMinor: number, headers: readonly string[], listens: boolean): boolean {
  if (httpVersionMinor === 0) return false
  let upgrade: string | undefined
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const value = headers[i + 1]!
    switch (headers[i]!.toLowerCase()) {
      case 'upgrade':
        upgrade = upgrade === undefined ? value : `${upgrade},${value}`
        break
      case 'transfer-encoding':
        return false
      case 'content-length':
        if (value.trim() !== '0') return false
    }
  }
  // CONNECT has no Upgrade header; node:http decides about it.
  if (upgrade === undefined) return true
  return listens && upgrade.split(',').some((protocol) => protocol.trim() !== '' && !ORDINARY.test(protocol.trim()))
}
