/** How the engine reaches etcd: TLS, users, and every way in which that goes wrong. */
import { writeFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttp2Server } from 'node:http2'
import { type AddressInfo, createConnection, createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Authority, issueCertificate } from '../../../../src/identity/certificate.ts'
import { privateKeyPem } from '../../../../src/identity/key.ts'
import { check, OptionsError } from '../../../../src/options/fields.ts'
import { StorageError } from '../../../../src/registry/storage/errors.ts'
import { type EtcdStoreOptions, etcdStore } from '../../../../src/registry/storage/etcd/options.ts'
import { EtcdStorage } from '../../../../src/registry/storage/etcd/storage.ts'
import { newAuthority, newKey, TRUST_DOMAIN } from '../../../rigs/certificates.ts'
import { EtcdCluster, type EtcdOptions, WITHOUT_ETCD, withEtcd } from '../../../rigs/etcd.ts'
import { temporaryDirectory } from './temporary-directory.ts'

const closers: (() => unknown)[] = []

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function start(options?: EtcdOptions): Promise<EtcdCluster> {
  const cluster = await EtcdCluster.start(options)
  closers.push(() => cluster.close())
  return cluster
}

async function open(store: string | EtcdStoreOptions): Promise<EtcdStorage> {
  const storage = await EtcdStorage.open(check(etcdStore(), store, 'startRegistry'))
  closers.push(() => storage.close())
  return storage
}

/** In bounded time, whatever is wrong. */
async function refusal(store: string | EtcdStoreOptions): Promise<string> {
  const began = performance.now()
  const error = await open(store).then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error instanceof StorageError || error instanceof OptionsError).toBe(true)
  expect(performance.now() - began).toBeLessThan(40_000)
  return (error as Error).message
}

async function listen(server: {
  listen(port: number, host: string, done: () => void): unknown
  address(): unknown
  close(): unknown
}): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => server.close())
  return `etcd://127.0.0.1:${(server.address() as AddressInfo).port}`
}

interface Shown {
  readonly cert: string
  readonly key: string
}

function shown(authority: Authority, name: string): Shown {
  const { privateKey, publicKey } = newKey()
  const cert = issueCertificate(authority, {
    ...{ publicKey, spiffeId: `spiffe://${TRUST_DOMAIN}/${name}`, dnsNames: ['localhost'] },
    ...{ ipAddresses: ['127.0.0.1', '::1'], notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 },
  })
  return { cert, key: privateKeyPem(privateKey) }
}

describe.skipIf(WITHOUT_ETCD)(withEtcd('access to etcd'), { timeout: 180_000 }, () => {
  describe('with TLS and client certificates', () => {
    let authority: Authority
    let other: Authority

    beforeAll(() => {
      authority = newAuthority()
      other = newAuthority()
    })

    async function startSecured(): Promise<EtcdCluster> {
      const directory = temporaryDirectory(closers)
      const files = { ca: join(directory, 'ca'), cert: join(directory, 'cert'), key: join(directory, 'key') }
      const server = shown(authority, 'etcd')
      for (const [file, text] of [
        [files.ca, authority.certificate],
        [files.cert, server.cert],
        [files.key, server.key],
      ] as const) {
        writeFileSync(file, text)
      }
      return await start({ tls: files })
    }

    test('connects, and names the option when a certificate is missing or wrong', async () => {
      const { url } = await startSecured()
      const ca = authority.certificate
      const client = shown(authority, 'registry')
      const storage = await open({ url, ca, ...client })
      expect((await storage.transact([], [{ key: 'a', value: '1' }])).ok).toBe(true)
      const byName = await open({
        url: url.replace('127.0.0.1', 'localhost').replace('etcd:', 'etcds:'),
        ca,
        ...client,
      })
      expect((await byName.list('')).items).toHaveLength(1)
      const named = /store\.ca, store\.cert and store\.key; --etcd-ca/
      expect(await refusal({ url, ca: other.certificate, ...client })).toMatch(named)
      expect(await refusal({ url: url.replace('etcd:', 'etcds:') })).toMatch(named)
      expect(await refusal({ url, ca, ...shown(other, 'registry') })).toMatch(named)
      expect(await refusal({ url, ca })).toMatch(named)
      expect(await refusal(url)).toMatch(/if it wants TLS: etcds:\/\/ or store\.ca/)
      expect(await refusal({ url, ca, ...client, key: shown(authority, 'registry').key })).toMatch(
        /key: is not the key of the certificate/,
      )
      const nonsense = '-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n'
      expect(await refusal({ url, ca, key: client.key, cert: nonsense })).toMatch(/cert: expected a certificate/)
    })

    test('is refused by an etcd without TLS', async () => {
      const { url } = await start()
      expect(await refusal({ url, ca: authority.certificate })).toMatch(/store\.ca.*--etcd-ca/)
    })
  })

  describe('with users', () => {
    const as = ['--user', 'root:very secret']

    async function startGuarded(): Promise<EtcdCluster> {
      const cluster = await start()
      for (const command of [
        'user add root:very\\ secret',
        'user add registry:päss wörd',
        'user add stranger:s',
        'role add mesh',
        'role grant-permission mesh readwrite --prefix inmesh/',
        'user grant-role registry mesh',
      ]) {
        const words = command.split(' ')
        const joined = command.startsWith('user add')
          ? ['user', 'add', words.slice(2).join(' ').replace('\\', '')]
          : words
        await cluster.ctl(...joined)
      }
      const grant = ['user', 'grant-role', 'root', 'root']
      await cluster.ctl(...grant).catch(() => cluster.ctl('role', 'add', 'root'))
      await cluster.ctl('auth', 'enable')
      return cluster
    }

    test('reads and writes its prefix, and authenticates again when its token is no longer known', async () => {
      const cluster = await startGuarded()
      const { url } = cluster
      const storage = await open({ url, user: 'registry', password: 'päss wörd' })
      const seen: string[] = []
      await storage.watch('', storage.status().revision, ({ changes }) => seen.push(...changes.map(({ key }) => key)))
      const announcement = await storage.announce('registry/a', '1')
      // Once, however often it is tried while etcd hashes a password.
      const write = (key: string) => async (): Promise<boolean> => {
        const written = storage.transact([{ key, revision: 0 }], [{ key, value: '1' }])
        return await written.then(
          () => true,
          () => false,
        )
      }
      await expect.poll(write('a'), { timeout: 60_000 }).toBe(true)
      // Simple tokens are in the memory of etcd.
      const [node] = cluster.nodes
      await node!.kill()
      node!.start()
      await node!.healthy()
      await expect.poll(write('b'), { timeout: 60_000 }).toBe(true)
      // Every change of users makes old tokens invalid.
      await cluster.ctl(...as, 'user', 'add', 'late:x')
      await expect.poll(write('c'), { timeout: 60_000 }).toBe(true)
      expect((await storage.list('')).items.map(({ key }) => key)).toEqual(['a', 'b', 'c', 'registry/a'])
      expect(seen).toEqual(['registry/a', 'a', 'b', 'c'])
      await announcement.update('2')
    })

    test('is refused with the option when the user or the password is wrong', async () => {
      const { url } = await startGuarded()
      expect(await refusal({ url, user: 'registry', password: 'wrong' })).toMatch(/--etcd-user.*authentication failed/)
      expect(await refusal({ url, user: 'nobody', password: 'wrong' })).toMatch(/--etcd-user.*authentication failed/)
      expect(await refusal({ url, user: 'stranger', password: 's' })).toMatch(/may not read and write.*--etcd-user/)
      expect(await refusal(url)).toMatch(/wants a user and a password.*--etcd-user/)
      expect(await refusal({ url: `${url}/elsewhere`, user: 'registry', password: 'päss wörd' })).toMatch(
        /may not read/,
      )
    })

    test('is refused by an etcd without users', async () => {
      const { url } = await start()
      expect(await refusal({ url, user: 'u', password: 'p' })).toMatch(/has no authentication enabled.*--etcd-user/)
    })
  })

  test('goes over IPv6, and to the one of several hosts that is there', async () => {
    const { endpoints } = await start()
    const port = endpoints[0]!.split(':')[1]
    const storage = await open(`etcd://127.0.0.1:1,127.0.0.1:${port},127.0.0.1:2/a/b`)
    expect((await storage.transact([], [{ key: 'a', value: '1' }])).ok).toBe(true)
    const six = createServer((near) => {
      const far = createConnection(Number(port), '127.0.0.1')
      near.pipe(far).pipe(near)
      for (const socket of [near, far]) socket.on('error', () => {})
    })
    await new Promise<void>((resolve) => six.listen(0, '::1', resolve))
    closers.push(() => six.close())
    const overSix = await open(`etcd://[::1]:${(six.address() as AddressInfo).port}/a/b`)
    expect((await overSix.list('')).items).toMatchObject([{ key: 'a', value: '1' }])
  })

  test('ends with one clear error where there is no etcd', async () => {
    expect(await refusal('etcd://127.0.0.1:1')).toMatch(
      /\(store, --store\): etcd at 127\.0\.0\.1:1: connect ECONNREFUSED/,
    )
    expect(await refusal('etcd://no-such-host.invalid')).toMatch(
      /etcd at no-such-host\.invalid:2379: Name resolution failed/,
    )
    const mute = await listen(createServer())
    expect(await refusal(mute)).toMatch(/etcd at 127\.0\.0\.1:\d+ does not answer in time/)
    const web = await listen(createHttpServer((_request, response) => response.end('hello')))
    expect(await refusal(web)).toMatch(/is no etcd of version 3\.4 or later \(store, --store\)/)
    const other = createHttp2Server((_request, response) => response.writeHead(404).end('no such page'))
    expect(await refusal(await listen(other))).toMatch(/is no etcd of version 3\.4 or later \(store, --store\)/)
  })
})
