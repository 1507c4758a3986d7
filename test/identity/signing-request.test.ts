import 'reflect-metadata'
import { createPublicKey, generateKeyPairSync, webcrypto } from 'node:crypto'
import * as oracle from '@peculiar/x509'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MeshError } from '../../src/core/errors.ts'
import { createSigningRequest, readSigningRequest } from '../../src/identity/signing-request.ts'
import { newKey } from '../rigs/certificates.ts'

const P256 = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

async function foreignRequest(algorithm: typeof P256): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const request = await oracle.Pkcs10CertificateRequestGenerator.create(
    {
      name: 'CN=admin',
      keys,
      signingAlgorithm: algorithm,
      extensions: [new oracle.SubjectAlternativeNameExtension([{ type: 'url', value: 'spiffe://mesh.test/registry' }])],
    },
    webcrypto as typeof globalThis.crypto,
  )
  return request.toString('pem')
}

function bytesOf(pem: string): Buffer {
  return Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64')
}

function pemOf(bytes: Uint8Array): string {
  return `-----BEGIN CERTIFICATE REQUEST-----\n${Buffer.from(bytes).toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
}

describe('a signing request', () => {
  test('of ours gives back its public key, here and in another implementation', async () => {
    const { privateKey, publicKey } = newKey()
    const pem = createSigningRequest(privateKey)
    expect(readSigningRequest(pem).equals(publicKey)).toBe(true)
    const theirs = new oracle.Pkcs10CertificateRequest(pem)
    expect(await theirs.verify(webcrypto as typeof globalThis.crypto)).toBe(true)
  })

  test('of another implementation gives its key; the names it asks for are not even returned', async () => {
    const key = readSigningRequest(await foreignRequest(P256))
    expect(key.asymmetricKeyType).toBe('ec')
  })

  test('for another kind of key is refused', async () => {
    const p384 = await foreignRequest({ name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' })
    expect(() => readSigningRequest(p384)).toThrow(/not a P-256 key/)
  })

  test("with somebody else's key in it is refused: the signature does not fit", () => {
    const [mine, victim] = [newKey(), newKey()]
    const bytes = bytesOf(createSigningRequest(mine.privateKey))
    const point = (key: typeof mine) =>
      createPublicKey(key.privateKey).export({ type: 'spki', format: 'der' }).subarray(-64)
    const at = bytes.indexOf(point(mine))
    expect(at).toBeGreaterThan(0)
    point(victim).copy(bytes, at)
    expect(() => readSigningRequest(pemOf(bytes))).toThrow(/its signature is wrong/)
  })

  test('with a point that is not on the curve is refused', () => {
    const { privateKey } = newKey()
    const bytes = bytesOf(createSigningRequest(privateKey))
    const at = bytes.indexOf(createPublicKey(privateKey).export({ type: 'spki', format: 'der' }).subarray(-64))
    bytes.fill(0x01, at, at + 64)
    expect(() => readSigningRequest(pemOf(bytes))).toThrow(/not a P-256 key/)
  })

  test.each([
    ['nothing', ''],
    ['no PEM', 'hello'],
    ['another label', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'],
    ['too much', `-----BEGIN CERTIFICATE REQUEST-----\n${'A'.repeat(17_000)}\n-----END CERTIFICATE REQUEST-----\n`],
    ['two requests', createSigningRequest(newKey().privateKey).repeat(2)],
    ['a private key', generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()],
    ['a number', 7 as unknown as string],
  ])('that is %s is refused', (_what, text) => {
    expect(() => readSigningRequest(text)).toThrow(MeshError)
  })

  test('with any byte changed, cut off or added is refused with a join-refused error, or is the same request', () => {
    const { privateKey, publicKey } = newKey()
    const good = bytesOf(createSigningRequest(privateKey))
    const change = fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }))
    fc.assert(
      fc.property(change, fc.nat(good.length + 2), ([at, flip], length) => {
        const bytes = Buffer.concat([good, Buffer.alloc(2)]).subarray(0, length)
        if (at < bytes.length) bytes[at] = bytes[at]! ^ flip
        try {
          expect(readSigningRequest(pemOf(bytes)).equals(publicKey)).toBe(true)
          expect(bytes.equals(good)).toBe(true)
        } catch (error) {
          expect(error).toMatchObject({ code: 'join-refused' })
        }
      }),
      { numRuns: 500 },
    )
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.uint8Array({ maxLength: 300 }).map(pemOf)), (text) => {
        expect(() => readSigningRequest(text)).toThrow(MeshError)
      }),
    )
  })
})
