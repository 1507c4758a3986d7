import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { MeshError } from '../../src/core/errors.ts'
import { type Authority, issueCertificate } from '../../src/identity/certificate.ts'
import type { Issued, Issuer } from '../../src/identity/certificate-request.ts'
import type { Identity } from '../../src/identity/identity.ts'
import { rootFingerprint } from '../../src/identity/join-token.ts'
import { KeyStore } from '../../src/identity/key-store.ts'
import { RotatingIdentity, type RotationEvent } from '../../src/identity/rotation.ts'
import { readSigningRequest } from '../../src/identity/signing-request.ts'
import { serviceId } from '../../src/identity/spiffe-id.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'
import { newAuthority, newBundle, TRUST_DOMAIN } from '../rigs/certificates.ts'

// Whole seconds, so that the lives below are exact.
const START = Math.floor(Date.now() / 1000) * 1000
const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000

class Scene {
  readonly clock: FakeClock
  readonly authority: Authority = newAuthority(START)
  readonly events: RotationEvent[] = []
  readonly asked: { at: number; current: Identity | undefined }[] = []
  lifeMs = 20_000
  service = 'checkout'
  sequence = 1
  /** Answers instead of the registry, if set. */
  answer: ((response: Issued) => Issued | Promise<Issued>) | undefined
  signer: Authority = this.authority
  roots: readonly string[] = [this.authority.certificate]
  holding = false
  rotation: RotatingIdentity | undefined

  constructor(seed = 1) {
    this.clock = new FakeClock({ wallNow: START, seed })
  }

  readonly issue: Issuer = async (csr, current) => {
    this.asked.push({ at: this.clock.now(), current })
    const wallNow = this.clock.wallNow()
    const certificate = issueCertificate(this.signer, {
      publicKey: readSigningRequest(csr),
      spiffeId: serviceId(TRUST_DOMAIN, this.service),
      notBefore: wallNow - 60_000,
      notAfter: wallNow + this.lifeMs,
    })
    const { roots, sequence } = this
    const response = { ...newBundle(roots, sequence), certificate, wallNow }
    return this.answer === undefined ? response : await this.answer(response)
  }

  async start(store?: KeyStore, fingerprint?: string): Promise<RotatingIdentity> {
    const onEvent = (event: RotationEvent) => void this.events.push(event)
    const { clock, issue } = this
    store ??= await KeyStore.open({ directory: undefined, clock })
    this.rotation = await RotatingIdentity.start({ service: 'checkout', issue, store, clock, fingerprint, onEvent })
    return this.rotation
  }

  /** Moves on; keys are made off the event loop, so real turns of it are needed in between. */
  async pass(ms: number, stepMs = ms / 20): Promise<void> {
    for (const until = this.clock.now() + ms; this.clock.now() < until - 1e-6; ) {
      this.clock.advance(Math.min(stepMs, until - this.clock.now()))
      await this.calm()
    }
  }

  /** Until no renewal runs, or the issuer has been asked and holds its answer back. */
  async calm(): Promise<void> {
    do await new Promise((resolve) => setImmediate(resolve))
    while (this.rotation?.renewing === true && !this.holding)
  }

  types(): string[] {
    return this.events.map((event) => event.type)
  }
}

describe('a rotating identity', () => {
  test('joins once without an identity, and renews between 60 and 75 % of what was left on receipt, each time with a new key', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    const first = rotation.current
    expect(first).toMatchObject({ service: 'checkout', generation: 1, sequence: 1, notAfter: START + 20_000 })
    const heard: Identity[] = []
    rotation.onRotate((identity) => heard.push(identity))
    await scene.pass(11_900)
    expect(scene.asked).toHaveLength(1)
    await scene.pass(3_200)
    expect(scene.asked).toHaveLength(2)
    expect(scene.asked.map(({ current }) => current)).toEqual([undefined, first])
    expect(scene.asked[1]!.at).toBeGreaterThanOrEqual(12_000)
    expect(scene.asked[1]!.at).toBeLessThanOrEqual(15_000)
    expect(heard).toEqual([rotation.current])
    expect(rotation.current.generation).toBe(2)
    expect(rotation.current.privateKey).not.toBe(first.privateKey)
    expect(scene.types()).toEqual(['issued', 'renewed'])
    rotation.close()
    expect(scene.clock.timers).toBe(0)
  })

  test('tries several times before the end of a life of 20 s, then tells of the danger and of the end', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    const first = rotation.current
    scene.answer = () => Promise.reject(new Error('down'))
    await scene.pass(20_500, 100)
    expect(scene.asked.filter(({ at }) => at > 0 && at < 20_000).length).toBeGreaterThanOrEqual(5)
    expect(scene.types().filter((type) => type !== 'renewal-failed')).toEqual(['issued', 'expiring', 'expired'])
    expect(scene.events.find((event) => event.type === 'expiring')).toMatchObject({
      type: 'expiring',
      remainingMs: expect.closeTo(2_000, 3),
    })
    expect(rotation.current).toBe(first)
    scene.answer = undefined
    await scene.pass(2_000, 100)
    expect(rotation.current.generation).toBe(2)
    rotation.close()
  })

  test('waits longer after each failure, from 1 s to 30 s, when the life is long', async () => {
    const scene = new Scene()
    scene.lifeMs = DAY_MS / 2
    const rotation = await scene.start()
    scene.answer = () => Promise.reject(new Error('down'))
    for (let i = 0; i < 9; i++) {
      void rotation.renew()
      await scene.calm()
    }
    const waits = scene.events.flatMap((event) => (event.type === 'renewal-failed' ? [event.retryInMs] : []))
    expect(waits).toHaveLength(9)
    for (const [i, wait] of waits.entries()) {
      const full = Math.min(30_000, 1_000 * 2 ** i)
      expect(wait).toBeGreaterThanOrEqual(full / 2)
      expect(wait).toBeLessThanOrEqual(full)
    }
    rotation.close()
    expect(scene.clock.timers).toBe(0)
  })

  const bad: readonly (readonly [string, (scene: Scene) => void])[] = [
    ['of another service', (scene) => (scene.service = 'prices')],
    [
      'for another key',
      (scene) =>
        (scene.answer = (r) => ({
          ...r,
          certificate: scene.events.flatMap((e) => (e.type === 'issued' ? [e.identity.certificate] : []))[0]!,
        })),
    ],
    ['signed by a root that we do not trust', (scene) => (scene.signer = newAuthority(START))],
    ['of another trust domain', (scene) => (scene.answer = (r) => ({ ...r, trustDomain: 'other.test' }))],
    ['that is no certificate', (scene) => (scene.answer = (r) => ({ ...r, certificate: '<html>' }))],
    ['with garbage for roots', (scene) => (scene.answer = (r) => ({ ...r, roots: [null] as unknown as string[] }))],
    ['that has expired', (scene) => (scene.lifeMs = -5_000)],
    ['that is null', (scene) => (scene.answer = () => null as unknown as Issued)],
  ]
  test.each(bad)('never gives up a good identity for one %s', async (_what, spoil) => {
    const scene = new Scene()
    const rotation = await scene.start()
    const first = rotation.current
    spoil(scene)
    await rotation.renew()
    expect(rotation.current).toBe(first)
    expect(scene.types()).toEqual(['issued', 'renewal-failed'])
    rotation.close()
  })

  test('gives an issuer that hangs 20 % of the life, and does not use its late answer', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    const first = rotation.current
    let release = (): void => {}
    scene.answer = (response) => {
      scene.holding = true
      return new Promise((resolve) => {
        release = () => resolve(response)
      })
    }
    const renewal = rotation.renew()
    await scene.calm()
    scene.clock.advance(4_000)
    await renewal
    expect(scene.events.at(-1)).toMatchObject({ type: 'renewal-failed', error: { code: 'registry-unavailable' } })
    release()
    await scene.calm()
    expect(rotation.current).toBe(first)
    rotation.close()
  })

  test('does not spin when the registry writes nonsense for its time', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    scene.answer = (response) => ({ ...response, wallNow: Number.NaN })
    await rotation.renew()
    expect(rotation.current.generation).toBe(2)
    await scene.pass(10_000)
    expect(scene.asked).toHaveLength(2)
    rotation.close()
  })

  test('refuses to join with a clock that is 6 minutes off, and tells of 45 seconds', async () => {
    const scene = new Scene()
    scene.lifeMs = DAY_MS / 2
    scene.answer = (response) => ({ ...response, wallNow: response.wallNow + 360_000 })
    await expect(scene.start()).rejects.toMatchObject({
      code: 'join-refused',
      message: expect.stringContaining('360 s'),
    })
    scene.answer = (response) => ({ ...response, wallNow: response.wallNow + 45_000 })
    const rotation = await scene.start()
    expect(scene.events).toContainEqual({ type: 'clock-skew', offsetMs: 45_000 })
    rotation.close()
  })

  test('rejects the start with what the issuer said, and leaves no timer', async () => {
    const scene = new Scene()
    scene.answer = () => Promise.reject(new Error('token used twice'))
    await expect(scene.start()).rejects.toThrow('token used twice')
    expect(scene.clock.timers).toBe(0)
  })

  test('refuses first roots among which the pinned one is missing', async () => {
    const scene = new Scene()
    await expect(scene.start(undefined, rootFingerprint(newAuthority(START).certificate))).rejects.toThrow(/pinned/)
    const rotation = await scene.start(undefined, rootFingerprint(scene.authority.certificate))
    rotation.close()
  })

  test('starts from the store without asking, and renews at the right age', async () => {
    const scene = new Scene()
    scene.lifeMs = 40_000
    const store = await KeyStore.open({ directory: undefined, clock: scene.clock })
    const before = await scene.start(store)
    before.close()
    const rotation = await scene.start(store)
    expect(scene.asked).toHaveLength(1)
    expect(rotation.current).toMatchObject({ certificate: before.current.certificate, generation: 1 })
    expect(scene.types()).toEqual(['issued', 'loaded'])
    await scene.pass(15_500)
    expect(scene.asked).toHaveLength(2)
    expect(rotation.current.generation).toBe(2)
    rotation.close()
  })

  test('keeps its identity when the store cannot write', async () => {
    const scene = new Scene()
    const store = await KeyStore.open({ directory: undefined, clock: scene.clock })
    store.writeState = () => Promise.reject(new Error('disk full'))
    const rotation = await scene.start(store)
    expect(scene.types()).toEqual(['issued', 'store-failed'])
    rotation.close()
  })

  test('shares one renewal among all who ask at once', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    await Promise.all([rotation.renew(), rotation.renew(), rotation.renew()])
    await scene.calm()
    expect(scene.asked).toHaveLength(2)
    rotation.close()
  })

  test('a listener that throws harms nobody else, and one that left hears nothing', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    const heard: string[] = []
    rotation.onRotate(() => {
      throw new Error('mine')
    })
    const leave = rotation.onRotate(() => heard.push('left'))
    rotation.onRotate(() => heard.push('stayed'))
    leave()
    await rotation.renew()
    expect(heard).toEqual(['stayed'])
    expect(scene.types()).toEqual(['issued', 'listener-failed', 'renewed'])
    rotation.close()
  })

  test('asks and tells nothing more after close, also when an answer was on its way', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    const renewal = rotation.renew()
    rotation.close()
    rotation.close()
    await renewal
    await scene.pass(100_000)
    expect(scene.types()).toEqual(['issued'])
    expect(rotation.current.generation).toBe(1)
    expect(scene.clock.timers).toBe(0)
  })
})

describe('an identity on a machine that sleeps, and whose clock is set', () => {
  test('is renewed within seconds of waking up, and its end is told', async () => {
    const scene = new Scene()
    scene.lifeMs = 4 * HOUR_MS
    const rotation = await scene.start()
    const first = rotation.current
    await scene.pass(10_000, 1_000)
    scene.clock.jumpWall(5 * HOUR_MS)
    scene.answer = (response) => ({ ...response, joined: true })
    await scene.pass(3_000, 500)
    expect(scene.types()).toEqual(['issued', 'expiring', 'expired', 'rejoined'])
    expect(scene.events[2]).toMatchObject({ identity: first })
    expect(rotation.current.notAfter).toBeGreaterThan(scene.clock.wallNow())
    await scene.pass(60_000, 1_000)
    expect(scene.asked).toHaveLength(2)
    rotation.close()
    expect(scene.clock.timers).toBe(0)
  })

  test('is renewed when it slept past the time for that, though not past the end', async () => {
    const scene = new Scene()
    scene.lifeMs = 4 * HOUR_MS
    const rotation = await scene.start()
    scene.clock.jumpWall(3.2 * HOUR_MS)
    await scene.pass(3_000, 500)
    expect(scene.types()).toEqual(['issued', 'renewed'])
    rotation.close()
  })

  test('is renewed at a time of its own within 4 s, because a leap of the clock makes all due', async () => {
    const waits = await Promise.all(
      Array.from({ length: 12 }, async (_, seed) => {
        const scene = new Scene(seed)
        scene.lifeMs = 4 * HOUR_MS
        const rotation = await scene.start()
        scene.clock.jumpWall(25 * HOUR_MS)
        const from = scene.clock.now()
        await scene.pass(4_100, 100)
        rotation.close()
        // It shows the certificate that it has.
        expect(scene.asked[1]).toMatchObject({ current: { generation: 1 } })
        return scene.asked[1]!.at - from
      }),
    )
    expect(new Set(waits).size).toBeGreaterThan(6)
  })

  test('is renewed when the clock is put back before its beginning', async () => {
    const scene = new Scene()
    scene.lifeMs = 4 * HOUR_MS
    const rotation = await scene.start()
    scene.clock.jumpWall(-HOUR_MS)
    await scene.pass(3_000, 500)
    expect(scene.types()).toEqual(['issued', 'renewed'])
    expect(rotation.current.notBefore).toBeLessThan(scene.clock.wallNow())
    rotation.close()
  })

  test('joins again under the roots of the registry of now, which may be another one', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    rotation.updateBundle(newBundle([scene.authority.certificate, newAuthority(START).certificate], 7))
    scene.signer = newAuthority(START)
    scene.roots = [scene.signer.certificate]
    scene.answer = (response) => ({ ...response, joined: true })
    await rotation.renew()
    expect(rotation.current).toMatchObject({ roots: scene.roots, sequence: 1 })
    rotation.close()
  })

  test('asks a registry that refuses it less and less often, up to every 5 min, once it has ended', async () => {
    const scene = new Scene()
    scene.lifeMs = 4 * HOUR_MS
    const rotation = await scene.start()
    scene.clock.jumpWall(5 * HOUR_MS)
    scene.answer = () => Promise.reject(new MeshError('all uses are spent', { code: 'join-refused' }))
    await scene.pass(HOUR_MS, 1_000)
    const waits = scene.events.flatMap((event) => (event.type === 'renewal-failed' ? [event.retryInMs] : []))
    expect(Math.max(...waits)).toBeGreaterThan(150_000)
    expect(Math.max(...waits)).toBeLessThanOrEqual(300_000)
    expect(waits.length).toBeLessThan(40)
    rotation.close()
  })
})

describe('a changed trust bundle', () => {
  test('makes another generation with the same key; an older or damaged one does not', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    const first = rotation.current
    const next = newAuthority(START)
    rotation.updateBundle(newBundle([scene.authority.certificate, next.certificate], 5))
    expect(rotation.current).toMatchObject({ generation: 2, sequence: 5, privateKey: first.privateKey })
    expect(rotation.current.roots).toHaveLength(2)
    rotation.updateBundle(newBundle([next.certificate], 4))
    rotation.updateBundle(newBundle(['nonsense'], 6))
    rotation.updateBundle(newBundle([newAuthority(START, 'other.test').certificate], 6))
    expect(rotation.current.sequence).toBe(5)
    expect(scene.types()).toEqual(['issued', 'bundle', 'bundle-refused', 'bundle-refused'])
    expect(scene.asked).toHaveLength(1)
    rotation.close()
  })

  test('that trusts our certificate no more is in force at once, and ours is renewed', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    scene.signer = newAuthority(START)
    scene.roots = [scene.signer.certificate]
    scene.sequence = 2
    rotation.updateBundle(newBundle(scene.roots, 2))
    await scene.calm()
    expect(scene.types()).toEqual(['issued', 'bundle', 'renewed'])
    const root = new X509Certificate(scene.roots[0]!)
    expect(new X509Certificate(rotation.current.certificate).checkIssued(root)).toBe(true)
    rotation.close()
  })

  test('that replaces the root keeps the identity on disk good for a token of the former root', async () => {
    const scene = new Scene()
    const store = await KeyStore.open({ directory: undefined, clock: scene.clock })
    const rotation = await scene.start(store)
    const [former, next] = [scene.authority, newAuthority(START)]
    rotation.updateBundle(newBundle([former.certificate, next.certificate], 2))
    expect(rotation.current.formerRoots).toBeUndefined()
    scene.signer = next
    scene.roots = [former.certificate, next.certificate]
    scene.sequence = 2
    await rotation.renew()
    rotation.updateBundle(newBundle([next.certificate], 3))
    await rotation.renew()
    rotation.close()
    for (const root of [former, next]) {
      const stored = await store.loadIdentity('checkout', rootFingerprint(root.certificate))
      expect(stored).toMatchObject({ roots: [next.certificate], formerRoots: [rootFingerprint(former.certificate)] })
    }
    expect(await store.loadIdentity('checkout', rootFingerprint(newAuthority(START).certificate))).toBeUndefined()
  })

  test('that is empty trusts nobody and is taken', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    rotation.updateBundle(newBundle([], 2))
    expect(rotation.current).toMatchObject({ roots: [], sequence: 2 })
    rotation.close()
  })

  test('that comes while a renewal runs is not lost by it', async () => {
    const scene = new Scene()
    const rotation = await scene.start()
    const next = newAuthority(START)
    scene.answer = (response) => {
      rotation.updateBundle(newBundle([scene.authority.certificate, next.certificate], 2))
      return response
    }
    await rotation.renew()
    expect(rotation.current).toMatchObject({ generation: 3, sequence: 2 })
    expect(rotation.current.roots).toHaveLength(2)
    rotation.close()
  })
})
