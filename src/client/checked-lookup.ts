/**
 * Rejects an endpoint whose resolved address is a metadata service, a wildcard or our own loopback.
 * The registry checks too, but cannot resolve names as this host does.
 */
import { type LookupAddress, type LookupOptions, lookup } from 'node:dns'
import type { LookupFunction } from 'node:net'
import { hostname } from 'node:os'
import { kindOfAddress } from '../net/network-address.ts'

/** Why `address`, to which `host` resolves, is refused; `undefined` if it is allowed. */
export function refuseEndpoint(host: string, address: string, loopbackAllowed: boolean): Error | undefined {
  const kind = kindOfAddress(address)
  // The registry has verified literal addresses.
  if (kind === 'forbidden' || (kind === 'link-local' && host !== address))
    return refusal(host, address, 'which is not the address of one process')
  if (kind !== 'loopback' || loopbackAllowed || kindOfAddress(host) === 'loopback') return undefined
  // Debian's /etc/hosts has 127.0.1.1 for it.
  return host === hostname() ? undefined : refusal(host, address, 'which is this machine itself')
}

/**
 * A `lookup` for `net.connect` and `tls.connect`: resolves as they do, and fails if any address is
 * refused.
 */
export function checkedLookup(loopbackAllowed: boolean): LookupFunction {
  return (host: string, options: LookupOptions, done: Parameters<LookupFunction>[2]) => {
    lookup(host, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      const refused = error ?? refusedAmong(host, addresses, loopbackAllowed)
      if (refused !== undefined) done(refused as NodeJS.ErrnoException, '', 0)
      else if (options.all === true) done(null, addresses)
      else done(null, addresses[0]!.address, addresses[0]!.family)
    })
  }
}

/**
 * Rejects if the name resolves to a refused address. A name that does not resolve fails when it is
 * connected to.
 */
export function checkName(host: string, loopbackAllowed: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    lookup(host, { all: true }, (error, addresses) => {
      const refused = error === null ? refusedAmong(host, addresses, loopbackAllowed) : undefined
      if (refused === undefined) resolve()
      else reject(refused)
    })
  })
}

function refusedAmong(host: string, addresses: readonly LookupAddress[], loopbackAllowed: boolean): Error | undefined {
  for (const { address } of addresses) {
    const refused = refuseEndpoint(host, address, loopbackAllowed)
    if (refused !== undefined) return refused
  }
  return undefined
}

function refusal(host: string, address: string, why: string): Error {
  const leads = host === address ? `${host},` : `${host} leads to ${address},`
  return Object.assign(new Error(`${leads} ${why}; it is not connected to`), { code: 'ADDRESS_REFUSED' })
}
