/**
 * Which requests with `Upgrade` are for the application's listener; all others are the ordinary
 * requests that they also are.
 */

/**
 * Protocols that this server does not speak and that a client offers with ordinary requests (RFC
 * 9110, 7.8).
 */
const ORDINARY = /^(?:h2c|http|tls)(?:\/|$)/i

/**
 * Whether a request with these headers is one for the application's `upgrade` listener. If not it
 * is an ordinary request: it has a body, comes by HTTP/1.0, offers nothing but versions of HTTP and
 * TLS, or no one listens (`listens`).
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
  // CONNECT has none, and is not ours to judge.
  if (upgrade === undefined) return true
  return listens && upgrade.split(',').some((protocol) => protocol.trim() !== '' && !ORDINARY.test(protocol.trim()))
}
