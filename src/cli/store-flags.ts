/** The flags that name a store on etcd. */
import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import { check, describeIssue, fields, type Issue, OptionsError } from '../options/fields.ts'
import type { RegistryOptions } from '../registry/index.ts'
import type { Storage } from '../registry/storage/storage.ts'
import { EXIT, Failure, invalidUsage } from './failure.ts'

export interface StoreFlags {
  readonly store?: string
  readonly etcdCa?: string
  readonly etcdCert?: string
  readonly etcdKey?: string
  readonly etcdUser?: string
  readonly etcdPasswordFile?: string
}

/** The flag that sets each option. */
export const STORE_FLAGS: Readonly<Record<string, string>> = {
  store: '--store',
  'store.url': '--store',
  'store.ca': '--etcd-ca',
  'store.cert': '--etcd-cert',
  'store.key': '--etcd-key',
  'store.user': '--etcd-user',
  'store.password': '--etcd-password-file',
}

/** Adds `--store` and the flags of etcd. */
export function withStore(command: Command, what: string): Command {
  return command
    .option('--store <url>', `${what}: etcd://host:2379,host2:2379/prefix (default: none)`)
    .option('--etcd-ca <file>', "authorities of etcd's certificates, PEM; connects with TLS")
    .option('--etcd-cert <file>', 'the certificate to show etcd, PEM')
    .option('--etcd-key <file>', 'its private key, PEM')
    .option('--etcd-user <name>', 'a user of etcd who may read and write the prefix')
    .option('--etcd-password-file <file>', "that user's password, on the first line")
}

export function storeFrom(flags: StoreFlags): RegistryOptions['store'] {
  const { store: url, etcdCa, etcdCert, etcdKey, etcdUser: user, etcdPasswordFile } = flags
  const read = (flag: string, path: string | undefined): string | undefined =>
    path === undefined ? undefined : readFlagFile(flag, path)
  const more = {
    ca: read('--etcd-ca', etcdCa),
    cert: read('--etcd-cert', etcdCert),
    key: read('--etcd-key', etcdKey),
    user,
    password: read('--etcd-password-file', etcdPasswordFile)?.split(/\r?\n/, 1)[0],
  }
  const given = Object.entries(more).filter(([, value]) => value !== undefined)
  if (given.length === 0) return url
  if (url === undefined) {
    throw invalidUsage(`${STORE_FLAGS[`store.${given[0]![0]}`]} is for a --store`)
  }
  return { url, ...Object.fromEntries(given) }
}

/**
 * The store and its name in messages. `undefined`: no flag names one.
 *
 * @throws Failure naming the flag that is wrong, or exit code 3 if etcd does not answer
 */
export async function openStore(flags: StoreFlags): Promise<{ storage: Storage; place: string } | undefined> {
  const given = storeFrom(flags)
  if (given === undefined) return undefined
  try {
    const { etcdStore } = await import('../registry/storage/etcd/options.ts')
    const { store } = check(fields({ store: etcdStore() }), { store: given }, 'store')
    const { EtcdStorage } = await import('../registry/storage/etcd/storage.ts')
    const storage = await EtcdStorage.open(store)
    return { storage, place: `etcd at ${store.endpoints.join(', ')} below ${store.prefix}` }
  } catch (error) {
    if (error instanceof OptionsError) throw invalidUsage(describe(error.issues))
    throw new Failure(EXIT.unreachable, 'store-unavailable', (error as Error).message)
  }
}

function describe(issues: readonly Issue[]): string {
  return issues
    .map(({ path, message }) => describeIssue({ path: [STORE_FLAGS[path.join('.')] ?? path.join('.')], message }))
    .join('; ')
}

function readFlagFile(flag: string, path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw invalidUsage(`${flag}: cannot read ${path}: ${(error as Error).message}`)
  }
}
