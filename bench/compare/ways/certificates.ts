/**
 * Certificates for the ways without an authority: one root and P-256 keys. Names are DNS names and
 * common names, because HAProxy 2.6 cannot check a SPIFFE URI.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { craftLeaf, type Leaf, newAuthority } from '../../../test/rigs/certificates.ts'

/** As files for proxies, as text for Node. */
export interface Certificates {
  readonly ca: string
  readonly caFile: string
  readonly client: Leaf
  /** Certificate and key in one file, as HAProxy wants it. */
  readonly clientFile: string
  readonly server: Leaf
  readonly serverFile: string
}

/** Writes them below `directory`, which only we may read. */
export function makeCertificates(directory: string): Certificates {
  const authority = newAuthority()
  const leaf = (name: string): Leaf => craftLeaf(authority, { commonName: name, dnsNames: [name], uris: [] })
  const write = (name: string, text: string): string => {
    const path = join(directory, name)
    writeFileSync(path, text, { mode: 0o600 })
    return path
  }
  const client = leaf('checkout')
  const server = leaf('inventory')
  return {
    ca: authority.certificate,
    caFile: write('ca.pem', authority.certificate),
    client,
    clientFile: write('checkout.pem', `${client.cert}\n${client.key}`),
    server,
    serverFile: write('inventory.pem', `${server.cert}\n${server.key}`),
  }
}
