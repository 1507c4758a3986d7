/** Where etcd is, and how a registry shows who it is. */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { isIPv6 } from 'node:net'
import { type Field, fields, type Issue, optional, show, text } from '../../../options/fields.ts'

/** A store on etcd 3.4 or later, which several registries may share. */
export interface EtcdStoreOptions {
  /**
   * `etcd://host:2379,host2:2379/prefix`. The port is 2379 and the prefix `inmesh` unless given;
   * `etcds://` is TLS, as is `etcd://` with one of `ca` and `cert`.
   */
  readonly url: string
  /** Certificates of the authorities of etcd's own, PEM. @defaultValue those that Node trusts */
  readonly ca?: string
  /** The certificate that the registry shows etcd, PEM; together with `key`. @defaultValue none */
  readonly cert?: string
  /** The private key of `cert`, PEM. @defaultValue none */
  readonly key?: string
  /**
   * A user of etcd who may read and write the prefix; together with `password`.
   * @defaultValue none
   */
  readonly user?: string
  /** The password of `user`. @defaultValue none */
  readonly password?: string
}

export interface ResolvedEtcdOptions {
  /** `host:port`. */
  readonly endpoints: readonly string[]
  /** What every key begins with; ends with a slash. */
  readonly prefix: string
  /** PEM. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string } | undefined
  readonly user: { readonly name: string; readonly password: string } | undefined
}

const DEFAULT_PORT = 2_379
const DEFAULT_PREFIX = 'inmesh'
const MOST_ENDPOINTS = 32
const EXPECTED = 'etcd://host:port,host:port/prefix'
const HOST = /^(?:\[[0-9a-fA-F:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?)$/
const PREFIX = /^[A-Za-z0-9][A-Za-z0-9._-]*(?:\/[A-Za-z0-9][A-Za-z0-9._-]*)*$/
const PEM = /-----BEGIN [A-Z0-9 ]+-----/

const pem = (what: string) => optional(secret(`${what} in PEM`, PEM, 1_048_576))

/** Text that no message shows. */
function secret(expected: string, pattern: RegExp, longest: number): Field<string> {
  return {
    optional: false,
    unit: undefined,
    schema: { type: 'string', description: expected },
    parse(value, path, issues) {
      if (typeof value === 'string' && pattern.test(value) && value.length <= longest) return value
      issues.push({ path, message: `expected ${expected}` })
      return undefined as never
    },
  }
}

const OBJECT = fields({
  url: text(EXPECTED, /^./, 8_192),
  ca: pem('certificates'),
  cert: pem('a certificate'),
  key: optional(secret('a private key in PEM', PEM, 65_536)),
  user: optional(text('the name of a user', /^[^\0]+$/, 255)),
  password: optional(secret('a password of 1 to 4096 characters', /^[^\0]+$/, 4_096)),
})

/** A URL, or an object with more. */
export function etcdStore(): Field<ResolvedEtcdOptions, string | EtcdStoreOptions> {
  return {
    optional: false,
    unit: undefined,
    schema: { description: `${EXPECTED}, or an object with url, ca, cert, key, user and password` },
    parse(value, path, issues) {
      const before = issues.length
      const given = OBJECT.parse(typeof value === 'object' ? value : { url: value }, path, issues)
      const at = typeof value === 'object' ? [...path, 'url'] : path
      const wrong = (name: string, message: string): void => void issues.push({ path: [...path, name], message })
      if (issues.length > before) return undefined as never
      const { url, ca, cert, key, user, password } = given
      const parsed = parseUrl(url, at, issues)
      if (cert !== undefined && key === undefined) wrong('key', 'is missing; the certificate needs its private key')
      if (key !== undefined && cert === undefined) wrong('cert', 'is missing; the private key needs its certificate')
      if (user !== undefined && password === undefined) wrong('password', 'is missing; the user needs one')
      if (password !== undefined && user === undefined) wrong('user', 'is missing; whose password is it')
      if (issues.length === before) checkPems(given, wrong)
      if (parsed === undefined || issues.length > before) return undefined as never
      const secure = parsed.secure || ca !== undefined || cert !== undefined
      return {
        endpoints: parsed.endpoints,
        prefix: `${parsed.prefix}/`,
        tls: secure ? { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) } : undefined,
        user: user === undefined ? undefined : { name: user, password: password! },
      }
    },
  }
}

interface Pems {
  readonly ca?: string | undefined
  readonly cert?: string | undefined
  readonly key?: string | undefined
}

/** What TLS could not use is refused before a connection is tried. */
function checkPems({ ca, cert, key }: Pems, wrong: (name: string, message: string) => void): void {
  const readable = (name: string, what: string, read: () => unknown): boolean => {
    try {
      read()
      return true
    } catch (error) {
      wrong(name, `expected ${what} in PEM, which this is not: ${(error as Error).message}`)
      return false
    }
  }
  if (ca !== undefined) readable('ca', 'certificates', () => new X509Certificate(ca))
  if (cert === undefined || key === undefined) return
  const both = [
    readable('cert', 'a certificate', () => new X509Certificate(cert)),
    readable('key', 'a private key', () => createPrivateKey(key)),
  ]
  if (!both.every(Boolean) || new X509Certificate(cert).checkPrivateKey(createPrivateKey(key))) return
  wrong('key', 'is not the key of the certificate')
}

interface ParsedUrl {
  readonly secure: boolean
  readonly endpoints: readonly string[]
  readonly prefix: string
}

/** Not by `URL`, which knows no list of hosts. */
function parseUrl(url: string, path: Issue['path'], issues: Issue[]): ParsedUrl | undefined {
  const refuse = (message: string): undefined => void issues.push({ path, message })
  const [, scheme, rest] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(url) ?? []
  if (scheme === undefined || rest === undefined) return refuse(`expected ${EXPECTED}, got ${show(url)}`)
  if (!/^etcds?$/i.test(scheme)) return refuse(`expected ${EXPECTED}, got the scheme '${scheme}'`)
  const slash = rest.indexOf('/')
  const authority = slash < 0 ? rest : rest.slice(0, slash)
  const prefix = (slash < 0 ? '' : rest.slice(slash + 1)).replace(/\/$/, '') || DEFAULT_PREFIX
  if (authority.includes('@')) return refuse('must not hold a user or a password; give them as user and password')
  if (/[?#]/.test(rest)) return refuse(`expected ${EXPECTED} without a query and a fragment`)
  if (!PREFIX.test(prefix) || prefix.length > 200) {
    return refuse(`expected a prefix of letters, digits, '.', '_', '-' and '/', got ${show(prefix)}`)
  }
  const hosts = authority.split(',')
  if (hosts.length > MOST_ENDPOINTS) return refuse(`expected at most ${MOST_ENDPOINTS} hosts, got ${hosts.length}`)
  const endpoints = hosts.map(readHost)
  const bad = endpoints.indexOf(undefined)
  if (bad >= 0) return refuse(`expected host or host:port, got ${show(hosts[bad])} in ${EXPECTED}`)
  return { secure: /^etcds$/i.test(scheme), endpoints: [...new Set(endpoints as string[])], prefix }
}

function readHost(text: string): string | undefined {
  const [, host, digits] = /^(\[[^\]]*\]|[^:[\]]*)(?::(\d{1,5}))?$/.exec(text.trim()) ?? []
  if (host === undefined || !HOST.test(host)) return undefined
  if (host.startsWith('[') && !isIPv6(host.slice(1, -1))) return undefined
  const port = digits === undefined ? DEFAULT_PORT : Number(digits)
  return port < 1 || port > 65_535 ? undefined : `${host}:${port}`
}
