/** The judgement is compared with what the system's own resolver makes of the same text. */
import { lookup } from 'node:dns/promises'
import { describe, expect, it } from 'vitest'
import { canonicalAddress, canonicalSpelling, kindOfAddress } from '../../src/net/network-address.ts'

const METADATA = [
  '169.254.169.254', '2852039166', '0xa9fea9fe', '0XA9FEA9FE', '0251.0376.0251.0376', '169.254.43518', '169.16689662',
  '0xa9.0xfe.0xa9.0xfe', '169.254.169.254.', '::ffff:169.254.169.254', '::ffff:a9fe:a9fe', '::FFFF:A9FE:A9FE',
  '0:0:0:0:0:ffff:a9fe:a9fe', '::a9fe:a9fe', '64:ff9b::a9fe:a9fe', '64:ff9b::169.254.169.254', '2002:a9fe:a9fe::',
  '[::ffff:a9fe:a9fe]', 'fd00:ec2::254', 'FD00:0EC2::0254', '100.100.100.200', '168.63.129.16', 'metadata',
  'METADATA.google.internal.', '169.254.170.2', `0x${'0'.repeat(40)}a9fea9fe`, '64:ff9b:1:1::a9fe:a9fe',
  '64:ff9b:1:ffff:0:0:169.254.169.254', '2001:db8::5efe:a9fe:a9fe', '2001:db8::200:5efe:169.254.169.254', 'fd00:42::42',
] // biome-ignore format: a table
const EVERYBODY = [
  '0',
  '0x0',
  '00000000',
  '0.0.0.0',
  '::',
  '0:0:0:0:0:0:0:0',
  '::0',
  '::%eth0',
  '224.0.0.1',
  '3758096385',
  '255.255.255.255',
  '4294967295',
  '0xffffffff',
  'ff02::1',
  'FF02::1%1',
  '::ffff:224.0.0.1',
  '240.0.0.1',
]
const LOOPBACK = [
  '127.0.0.1',
  '127.1',
  '127.8.8.8',
  '2130706433',
  '0x7f.1',
  '0177.0.0.01',
  '017700000001',
  'localhost',
  'LOCALHOST',
  'localhost.',
  'a.b.localhost',
  '::1',
  '[::1]',
  '0:0:0:0:0:0:0:1',
  '::ffff:127.0.0.1',
  '::ffff:7f00:1',
  '::7f00:1',
  '64:ff9b:1::7f00:1',
  '2001:0:0:0:0:0:80ff:fffe',
  '2001::80ff:fffe',
  'localhost6',
  'localhost4.localdomain4',
  'ip6-localhost',
  'localhost.localdomain',
  `${'0'.repeat(40)}177.0.0.1`,
  `0x${'0'.repeat(40)}7f.1`,
]
const LINK_LOCAL = ['169.254.1.1', '169.254.257', 'fe80::1', 'FE80::1', 'fe80::1%eth0', '::ffff:169.254.1.1']
const ORDINARY = [
  '10.0.0.1',
  '10.1',
  '192.168.1.1',
  '8.8.8.8',
  '2001:db8::1',
  'fd00::1',
  '::ffff:10.0.0.1',
  '2002:a00:1::',
]
const NAMES = [
  'inventory',
  'inventory.internal',
  '1.2.3.4.5',
  '0xg',
  '08',
  '256.1.1.1',
  '1.2.3.256',
  '4294967296',
  '127.0.0.1.nip.io',
  '',
]

describe('an address', () => {
  it.each([
    ['forbidden', [...METADATA, ...EVERYBODY]],
    ['loopback', LOOPBACK],
    ['link-local', LINK_LOCAL],
    ['ordinary', ORDINARY],
    ['name', NAMES],
  ] as const)('is judged as %s by where it leads', (kind, spellings) => {
    expect(spellings.map((text) => `${text}: ${kindOfAddress(text)}`)).toEqual(
      spellings.map((text) => `${text}: ${kind}`),
    )
  })

  it('is read as the resolver of this system reads it', async () => {
    const texts = [...METADATA, ...EVERYBODY, ...LOOPBACK, ...LINK_LOCAL, ...ORDINARY]
    for (const text of texts.filter((one) => /^[0-9xX.a-fA-F]+$/.test(one) && !one.endsWith('.'))) {
      const found = await lookup(text, { family: 4 }).catch(() => undefined)
      if (found !== undefined) expect(`${text} ${canonicalAddress(text)}`).toBe(`${text} ${found.address}`)
    }
  })
})

describe('one spelling for each address', () => {
  it.each([
    ['0:0:0:0:0:0:0:1', '::1'],
    ['2001:DB8::0:00a', '2001:db8::a'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['0:0:0:0:0:FFFF:a01:203', '10.1.2.3'],
    ['010.1.0x2.3', '8.1.2.3'],
    ['10.515', '10.0.2.3'],
    // Other ways, though they lead to the same machine.
    ['64:ff9b::a01:203', '64:ff9b::a01:203'],
    ['2002:a01:203::', '2002:a01:203::'],
    ['Host.example', 'Host.example'],
    ['10.0.0.1', '10.0.0.1'],
    ['::::', '::::'],
    ['fe80::1%eth0', 'fe80::1%eth0'],
  ])('%s is %s', (text, usual) => {
    expect(canonicalSpelling(text)).toBe(usual)
    expect(canonicalSpelling(usual)).toBe(usual)
  })
})
