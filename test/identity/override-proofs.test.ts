import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { Identity } from '../../src/identity/identity.ts'
import { OverrideProofs } from '../../src/identity/override-proofs.ts'
import { PeerVerifier } from '../../src/identity/peer-verifier.ts'
import { OptionsError } from '../../src/index.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { newAuthority, newIdentity } from '../rigs/certificates.ts'

const TEXT = 'inventory=green, prices=service:prices-pr-42'

const authority = newAuthority()
const gateway = newIdentity(authority, 'gateway')
const checkout = newIdentity(authority, 'checkout')
const stranger = newIdentity(newAuthority(), 'gateway')

function proofsOf(identity: Identity, clock = new FakeClock({ wallNow: Date.now() }), denied: string[] = []) {
  const verifier = new PeerVerifier(clock, { ...checkout, denied, sequence: 7 })
  return new OverrideProofs({ current: identity, onRotate: () => () => {} }, verifier, clock)
}

/** What `checkout` makes of it, and why not. */
function received(text: string, proof: string | undefined, peer: string | undefined, proofs = proofsOf(checkout)) {
  const reasons: string[] = []
  const overrides = proofs.receive(text, proof, peer, (reason) => reasons.push(reason))
  return { origin: overrides?.origin, reasons, overrides }
}

describe('overrides of a request', () => {
  it('are of the process that introduced them, over any number of hops', () => {
    const { text, proof } = proofsOf(gateway).introduce(TEXT)
    const first = received(text, proof, 'gateway')
    expect(first).toMatchObject({ origin: 'gateway', reasons: [] })
    const second = received(first.overrides!.text, first.overrides!.proof, 'checkout')
    expect(second).toMatchObject({ origin: 'gateway', reasons: [] })
    expect(Object.fromEntries(second.overrides!.targets)).toEqual({
      inventory: { service: undefined, subset: 'green' },
      prices: { service: 'prices-pr-42', subset: undefined },
    })
  })

  it('without a proof are of the direct peer, and travel on as those of the process that believed it', () => {
    const first = received(TEXT, undefined, 'curl')
    expect(first.origin).toBe('curl')
    expect(received(TEXT, first.overrides!.proof, 'checkout').origin).toBe('checkout')
  })

  it('of a caller without identity count for nothing', () => {
    expect(received(TEXT, undefined, undefined)).toMatchObject({
      overrides: undefined,
      reasons: ['the caller has no identity of the mesh'],
    })
  })

  it('with a proof that is not for them count for nothing', () => {
    const { proof } = proofsOf(gateway).introduce(TEXT)
    const [endsAt, leaf, signature] = proof!.split('.') as [string, string, string]
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const forged = [
      ['for another text', 'inventory=blue', proof],
      ['by a stranger', TEXT, proofsOf(stranger).introduce(TEXT).proof],
      ['by another key', TEXT, proofsOf({ ...gateway, privateKey: pem(other) }).introduce(TEXT).proof],
      ['with a later end', TEXT, `${Number(endsAt) + 1}.${leaf}.${signature}`],
      ['without an end', TEXT, `.${leaf}.${signature}`],
      ['cut off', TEXT, proof!.slice(0, -1)],
      ['of no certificate', TEXT, `${endsAt}.AAAA.${signature}`],
      ['of the root', TEXT, `${endsAt}.${derOf(authority.certificate)}.${signature}`],
      ['empty', TEXT, ''],
      ['endless', TEXT, `${endsAt}.${'A'.repeat(1_000_000)}.${signature}`],
    ] as const
    for (const [which, text, given] of forged) {
      const { overrides, reasons } = received(text, given, 'gateway')
      expect([which, overrides, reasons.length]).toEqual([which, undefined, 1])
    }
  })

  it('end with their proof, with the certificate that signed it, or when its service is denied', () => {
    const clock = new FakeClock({ wallNow: Date.now() })
    const proofs = proofsOf(checkout, clock)
    const { proof } = proofsOf(gateway).introduce(TEXT)
    expect(received(TEXT, proof, 'edge', proofs).origin).toBe('gateway')
    clock.advance(12 * 60_000)
    expect(received(TEXT, proof, 'edge', proofs).origin).toBeUndefined()
    const denying = proofsOf(checkout, undefined, [gateway.spiffeId])
    expect(received(TEXT, proof, 'edge', denying).origin).toBeUndefined()
  })

  it('are signed once, and anew in time and after a rotation', () => {
    const clock = new FakeClock({ wallNow: Date.now() })
    const source = { current: gateway, onRotate: () => () => {} }
    const proofs = new OverrideProofs(source, new PeerVerifier(clock, checkout), clock)
    const first = proofs.introduce(TEXT).proof
    expect(proofs.introduce(TEXT).proof).toBe(first)
    clock.advance(121_000)
    const second = proofs.introduce(TEXT).proof
    expect(second).not.toBe(first)
    source.current = { ...newIdentity(authority, 'gateway'), generation: 9 }
    expect(proofs.introduce(TEXT).proof).not.toBe(second)
  })

  it('of a process that has no identity yet have no proof until it arrives', () => {
    const clock = new FakeClock()
    let identity: Identity | undefined
    const source = {
      get current(): Identity {
        if (identity === undefined) throw new Error('none yet')
        return identity
      },
      onRotate: () => () => {},
    }
    const overrides = new OverrideProofs(source, undefined, clock).introduce(TEXT)
    expect([overrides.origin, overrides.proof]).toEqual([undefined, undefined])
    identity = gateway
    expect(overrides.origin).toBe('gateway')
    expect(overrides.proof).toBeTypeOf('string')
  })

  it('that are malformed are refused with what is valid', () => {
    const proofs = proofsOf(gateway)
    for (const text of [
      '',
      'inventory',
      'inventory=',
      '=green',
      'a=b=c',
      'Inventory=green',
      'a=service:',
      'a=b,,c=d',
    ]) {
      expect(() => proofs.introduce(text), text).toThrow(OptionsError)
      expect(received(text, undefined, 'gateway').reasons).toEqual([expect.stringContaining('x-inmesh-route')])
    }
    expect(() => proofs.introduce('a=b, a=c')).toThrow("names 'a' twice")
    expect(() => proofs.introduce(`a=${'b'.repeat(3_000)}`)).toThrow('is longer than 2048 characters')
    expect(() => proofs.introduce(Array.from({ length: 17 }, (_, i) => `a${i}=b`).join())).toThrow('has 17 entries')
    expect(() => proofs.introduce('inventory=green, prices')).toThrow(
      "request: headers.x-inmesh-route: expected entries such as 'inventory=green'",
    )
  })
})

function pem(key: ReturnType<typeof generateKeyPairSync>['privateKey']): string {
  return String((key as unknown as { export(form: object): string }).export({ type: 'pkcs8', format: 'pem' }))
}

function derOf(certificate: string): string {
  return Buffer.from(certificate.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64').toString('base64url')
}
