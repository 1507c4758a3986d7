/** Where etcd is, as options and flags say it. */
import { describe, expect, test } from 'vitest'
import { check, OptionsError } from '../../../../src/options/fields.ts'
import { startRegistry } from '../../../../src/registry/index.ts'
import { type EtcdStoreOptions, etcdStore } from '../../../../src/registry/storage/etcd/options.ts'
import { newAuthority } from '../../../rigs/certificates.ts'

const read = (store: string | EtcdStoreOptions) => check(etcdStore(), store, 'startRegistry')
const { certificate: PEM, privateKey: KEY } = newAuthority()

describe('the URL of an etcd', () => {
  test.each([
    ['etcd://h', ['h:2379'], 'inmesh/'],
    ['etcd://h:1', ['h:1'], 'inmesh/'],
    ['etcd://h/', ['h:2379'], 'inmesh/'],
    ['ETCD://h:1,h2,10.0.0.3:3/a/b', ['h:1', 'h2:2379', '10.0.0.3:3'], 'a/b/'],
    ['etcd://[::1]:2379,[fe80::1]/mesh/', ['[::1]:2379', '[fe80::1]:2379'], 'mesh/'],
    ['etcd://h,h:2379', ['h:2379'], 'inmesh/'],
  ])('%s', (url, endpoints, prefix) => {
    expect(read(url)).toEqual({ endpoints, prefix, tls: undefined, user: undefined })
  })

  test.each([
    ['10.0.0.1:2379', /expected etcd:\/\//],
    ['http://h:2379', /got the scheme 'http'/],
    ['etcd://', /expected host or host:port/],
    ['etcd://h,,h2', /expected host or host:port/],
    ['etcd://h:0', /expected host or host:port/],
    ['etcd://h:99999', /expected host or host:port/],
    ['etcd://h:x', /expected host or host:port/],
    ['etcd://::1:2379', /expected host or host:port/],
    ['etcd://[h]:2379', /expected host or host:port/],
    ['etcd://a b', /expected host or host:port/],
    ['etcd://user:secret@h:2379', /must not hold a user or a password/],
    ['etcd://h?x=1', /without a query/],
    ['etcd://h/a//b', /expected a prefix/],
    ['etcd://h/../b', /expected a prefix/],
    ['etcd://h/ä', /expected a prefix/],
    [`etcd://${Array.from({ length: 33 }, (_, i) => `h${i}`).join(',')}`, /at most 32 hosts, got 33/],
    ['', /expected etcd/],
  ])('%s is refused', (url, said) => {
    expect(() => read(url)).toThrow(said)
    expect(() => read(url)).not.toThrow(/secret/)
  })
})

test('is secured by its scheme, or by a certificate', () => {
  expect(read('etcds://h').tls).toEqual({})
  expect(read({ url: 'etcd://h', ca: PEM }).tls).toEqual({ ca: PEM })
  expect(read({ url: 'etcd://h', cert: PEM, key: KEY }).tls).toEqual({ cert: PEM, key: KEY })
  expect(read({ url: 'etcd://h', user: 'u', password: 'p' })).toMatchObject({
    tls: undefined,
    user: { name: 'u', password: 'p' },
  })
})

test.each<[Partial<EtcdStoreOptions>, RegExp]>([
  [{ cert: PEM }, /store\.key: is missing/],
  [{ key: KEY }, /store\.cert: is missing/],
  [{ user: 'u' }, /store\.password: is missing/],
  [{ password: 'p' }, /store\.user: is missing/],
  [{ key: 'hush', cert: PEM }, /store\.key: expected a private key in PEM$/],
  [{ user: 'u', password: 'hush\0' }, /store\.password: expected a password of 1 to 4096 characters$/],
  [{ ca: 'ca.pem' }, /store\.ca: expected certificates in PEM/],
])('refuses half of a pair, and what is no PEM: %o', async (half, said) => {
  const started = startRegistry({ port: 0, log: false, store: { url: 'etcd://h', ...half } })
  await expect(started).rejects.toThrow(OptionsError)
  await expect(started).rejects.toThrow(said)
  await expect(started).rejects.not.toThrow(/hush/)
})

test('excludes memory and development', async () => {
  const store = 'etcd://127.0.0.1:1'
  await expect(startRegistry({ store, memory: true })).rejects.toThrow(/memory: excludes a store/)
  await expect(startRegistry({ store, dev: true })).rejects.toThrow(/dev: excludes a store/)
})

test('a file that holds no PEM is not shown: it may be a password', () => {
  for (const name of ['ca', 'cert', 'key', 'password']) {
    const secret = name === 'password' ? 'hunter2'.repeat(1_000) : 'hunter2'
    try {
      read({ url: 'etcd://h', user: 'a', [name]: secret })
      expect.unreachable()
    } catch (error) {
      expect((error as Error).message).toMatch(new RegExp(`${name}: expected`))
      expect((error as Error).message).not.toContain('hunter2')
    }
  }
})
