import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SnapshotRejected } from '../../../src/discovery/read-field.ts'
import { LineReader, LineTooLong } from '../../../src/discovery/registry/line-reader.ts'
import { readServerMessage } from '../../../src/discovery/registry/message-reader.ts'
import { applyDelta, retainLastGood } from '../../../src/discovery/registry/service-view.ts'
import { readStoredView } from '../../../src/discovery/registry/stored-view.ts'
import type { ServerMessage } from '../../../src/discovery/registry/wire.ts'

const INSTANCE = {
  service: 'inventory',
  id: 'inventory-1',
  address: '10.0.0.1',
  port: 8080,
  protocol: 'http',
  tls: true,
  weight: 100,
  metadata: { team: 'shop' },
  state: 'ready',
}

const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'

function bundle(change: Record<string, unknown> = {}): string {
  return JSON.stringify({ type: 'bundle', trustDomain: 'mesh.test', sequence: 3, roots: [PEM], ...change })
}

function snapshot(change: Record<string, unknown> = {}): string {
  return JSON.stringify({
    type: 'snapshot',
    service: 'inventory',
    epoch: 'e1',
    revision: 7,
    instances: [INSTANCE],
    policy: null,
    intended: false,
    frozen: false,
    ...change,
  })
}

describe('a message from the registry', () => {
  it('is built anew from its known keys', () => {
    const message = readServerMessage(snapshot({ fromTheFuture: 1, instances: [{ ...INSTANCE, alsoNew: true }] }))
    expect(message).toMatchObject({ type: 'snapshot', revision: 7 })
    expect(message).not.toHaveProperty('fromTheFuture')
    expect((message as Extract<ServerMessage, { type: 'snapshot' }>).instances[0]).not.toHaveProperty('alsoNew')
  })

  it('of an unknown type is passed over, because the registry may be newer', () => {
    expect(readServerMessage('{"type":"weather","sun":true}')).toBeUndefined()
  })

  it('may ask in its greeting for the calls of the process, in bounds', () => {
    const welcome = (change: object) =>
      readServerMessage(
        JSON.stringify({
          ...{ type: 'welcome', protocol: 2, epoch: 'e1', leaseMs: 15_000, beatMs: 5_000, wallNow: 1, dev: false },
          ...change,
        }),
      )
    expect(welcome({})).not.toHaveProperty('traffic')
    expect(welcome({ traffic: { everyMs: 5_000, also: 1 } })).toMatchObject({ traffic: { everyMs: 5_000 } })
    for (const traffic of [null, 5_000, {}, { everyMs: 0 }, { everyMs: 99 }, { everyMs: 1e9 }, { everyMs: '5s' }]) {
      expect(() => welcome({ traffic })).toThrow(SnapshotRejected)
    }
  })

  it('with a trust bundle of an older registry, which knows only roots, has empty lists for the rest', () => {
    expect(readServerMessage(bundle())).toMatchObject({ roots: [PEM], intermediates: [], denied: [] })
    const lists = { intermediates: [PEM], denied: ['spiffe://mesh.test/service/checkout'] }
    expect(readServerMessage(bundle(lists))).toMatchObject(lists)
  })

  it.each([
    ['a bundle without roots', bundle({ roots: undefined })],
    ['roots that are no certificates', bundle({ roots: ['x'] })],
    ['an intermediate that is none', bundle({ intermediates: [7] })],
    ['intermediates that are no list', bundle({ intermediates: PEM })],
    ['a denied identity that is none', bundle({ denied: ['checkout'] })],
    ['more denied identities than are read', bundle({ denied: Array(1_001).fill('spiffe://mesh.test/a') })],
    ['a sequence below zero', bundle({ sequence: -1 })],
    ['an empty list', '[]'],
    ['null', 'null'],
    ['a web page', '<html><body>502</body></html>'],
    ['a number', '42'],
    ['no type', '{}'],
    ['a negative port', snapshot({ instances: [{ ...INSTANCE, port: -1 }] })],
    ['port 0', snapshot({ instances: [{ ...INSTANCE, port: 0 }] })],
    ['the same id twice', snapshot({ instances: [INSTANCE, INSTANCE] })],
    ['instances of another service', snapshot({ instances: [{ ...INSTANCE, service: 'prices' }] })],
    ['an address that is none', snapshot({ instances: [{ ...INSTANCE, address: 'a b' }] })],
    ['instances that are no list', snapshot({ instances: {} })],
    ['more instances than a service can have', snapshot({ instances: Array.from({ length: 10_001 }, () => INSTANCE) })],
    ['a negative revision', snapshot({ revision: -1 })],
    ['metadata that is no text', snapshot({ instances: [{ ...INSTANCE, metadata: { a: { b: 1 } } }] })],
  ])('with %s is refused whole, with a reason', (_, line) => {
    expect(() => readServerMessage(line)).toThrow(SnapshotRejected)
  })

  it('pollutes no prototype, whatever it names its keys', () => {
    const evil = snapshot().replace(
      '"metadata":{',
      '"__proto__":{"polluted":1},"metadata":{"__proto__":{"polluted":1},',
    )
    try {
      readServerMessage(evil)
    } catch (error) {
      expect(error).toBeInstanceOf(SnapshotRejected)
    }
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  it('never makes the reader throw anything but a refusal', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (line) => {
        try {
          readServerMessage(line)
        } catch (error) {
          expect(error).toBeInstanceOf(SnapshotRejected)
        }
      }),
      { numRuns: 2_000 },
    )
  })
})

describe('a delta', () => {
  const view = readStoredView(JSON.parse(snapshot()))

  it('puts, removes and leaves alone', () => {
    const delta = readServerMessage(
      JSON.stringify({
        type: 'delta',
        service: 'inventory',
        previous: 7,
        revision: 9,
        put: [{ ...INSTANCE, id: 'inventory-2' }],
        gone: [{ id: 'inventory-1', why: 'left' }],
      }),
    ) as Extract<ServerMessage, { type: 'delta' }>
    const next = applyDelta(view, delta)
    expect(next.endpoints.instances.map(({ id }) => id)).toEqual(['inventory-2'])
    expect(next).toMatchObject({
      revision: 9,
      endpoints: { intended: false, stale: false },
      document: { policy: null },
    })
    expect([...next.endpoints.left]).toEqual(['inventory-1'])
  })

  it('that loses an instance without its saying goodbye is not meant', () => {
    const next = applyDelta(view, {
      type: 'delta',
      service: 'inventory',
      previous: 7,
      revision: 8,
      gone: [{ id: 'inventory-1', why: 'lost' }],
    })
    expect(next.endpoints.intended).toBe(false)
    expect(next.endpoints.left.size).toBe(0)
  })
})

describe('endpoints and policy', () => {
  const view = readStoredView(JSON.parse(snapshot()))
  const delta = { type: 'delta', service: 'inventory', previous: 7, revision: 8 } as const

  it('change apart: the one keeps its object when the other changes', () => {
    const moved = applyDelta(view, { ...delta, gone: [{ id: 'inventory-1', why: 'left' }] })
    expect(moved.document).toBe(view.document)
    expect(moved.endpoints).not.toBe(view.endpoints)
    const governed = applyDelta(view, { ...delta, policy: { service: 'inventory', timeout: '1s' } })
    expect(governed.endpoints).toBe(view.endpoints)
    expect(governed.document.policy).toEqual({ service: 'inventory', timeout: '1s' })
  })

  it('know the protocol that all instances share, through every change', () => {
    const put = (...protocols: ('http' | 'grpc')[]) => ({
      ...delta,
      put: protocols.map((protocol, i) => ({ ...view.endpoints.instances[0]!, id: `${protocol}-${i}`, protocol })),
    })
    const empty = applyDelta(view, { ...delta, gone: [{ id: 'inventory-1', why: 'left' }] })
    const http = applyDelta(empty, put('http', 'http'))
    expect(http.endpoints.protocol).toBe('http')
    expect(applyDelta(http, put('http')).endpoints.protocol).toBe('http')
    expect(applyDelta(http, { ...delta, gone: [{ id: 'http-0', why: 'lost' }] }).endpoints.protocol).toBe('http')
    const both = applyDelta(http, put('grpc'))
    expect(both.endpoints.protocol).toBeUndefined()
    expect(applyDelta(both, put('http')).endpoints.protocol).toBeUndefined()
    expect(applyDelta(empty, put('grpc', 'http')).endpoints.protocol).toBeUndefined()
  })

  it('keep the document that a whole snapshot only repeats', () => {
    const policy = { service: 'inventory', timeout: '1s' }
    const known = applyDelta(view, { ...delta, policy })
    const again = retainLastGood(applyDelta(view, { ...delta, policy: { ...policy } }), known)
    expect(again.document.policy).toBe(policy)
    const other = retainLastGood(applyDelta(view, { ...delta, policy: { ...policy, timeout: '2s' } }), known)
    expect(other.document.policy).toEqual({ ...policy, timeout: '2s' })
  })
})

describe('a line reader', () => {
  it('gives the same lines however the bytes are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1 }).filter((line) => !/[\n\0]/.test(line) && line.isWellFormed())),
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        (lines, cuts) => {
          const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
          const got: (string | undefined)[] = []
          const reader = new LineReader(1_000_000, (line) => got.push(line))
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const size = cuts[i % cuts.length]!
            reader.push(bytes.subarray(at, at + size))
            at += size
          }
          expect(got).toEqual(lines)
        },
      ),
    )
  })

  it('cuts off a line that never ends', () => {
    const reader = new LineReader(100, () => undefined)
    reader.push(Buffer.alloc(60, 97))
    expect(() => reader.push(Buffer.alloc(60, 97))).toThrow(LineTooLong)
  })
})
