/** What is taken of a document that a newer registry has: never more than it allows. */
import { describe, expect, it } from 'vitest'
import { checkPolicyDocument, checkReceivedDocument } from '../../src/discovery/check-document.ts'
import { readPolicyDocument } from '../../src/discovery/policy-reader.ts'
import { readServerMessage } from '../../src/discovery/registry/message-reader.ts'
import { retainLastGood, type ServiceView, viewOf } from '../../src/discovery/registry/service-view.ts'
import type { ServerMessage } from '../../src/discovery/registry/wire.ts'
import { instance } from '../rigs/instance.ts'

describe('of a document that is not wholly known', () => {
  it.each([
    ['an unknown key is left out', { timeout: '3s', mirror: { to: 'x' } }, { timeout: '3s' }],
    ['an unknown key within another', { retry: { attempts: 2, jitterKind: 'full' } }, { retry: { attempts: 2 } }],
    ['a value beyond what is valid', { timeout: '3s', retry: { attempts: 1e9 } }, { timeout: '3s', retry: {} }],
    ['an unknown balancer', { timeout: '3s', balancer: 'random-walk' }, { timeout: '3s' }],
    [
      'an intention with a condition that is not known grants nothing',
      { allow: [{ from: 'a' }, { from: 'b', hours: '9-17' }] },
      { allow: [{ from: 'a' }] },
    ],
    ['a list of intentions that is none allows nobody', { allow: 'everybody' }, { allow: [] }],
    [
      'of faults the whole entry',
      { faults: [{ share: 0.5, weather: 'rain' }], timeout: '3s' },
      { faults: [], timeout: '3s' },
    ],
    [
      'of routes the whole entry, unless it is one of their policies',
      {
        routes: [
          { name: 'a', match: [{ path: '/a', weather: 'rain' }], respond: { status: 404 } },
          { name: 'b', match: [{ path: '/b' }], to: 'green', retry: { attempts: 2, jitterKind: 'full' } },
          { name: 'c', to: { pool: 'x' } },
        ],
      },
      { routes: [{ name: 'b', match: [{ path: '/b' }], to: 'green', retry: { attempts: 2 } }] },
    ],
    [
      'a subset with a condition that is not known is not wider without it',
      { subsets: { blue: { version: 'v1' }, green: { version: 'v2', rack: 'r1' } } },
      { subsets: { blue: { version: 'v1' } } },
    ],
    [
      'overrides with a condition that is not known',
      { timeout: '3s', overrides: { from: ['a'], hours: 1 } },
      { timeout: '3s' },
    ],
    ['several', { timeout: 'soon', a: 1, b: 2, retry: 7, allow: [{}] }, { allow: [] }],
  ])('%s', (_, given, expected) => {
    const read = readPolicyDocument({ service: 'stock', ...given })
    expect(read?.policy).toEqual({ service: 'stock', ...expected })
    expect(read?.issue).toBeTypeOf('string')
    expect(checkReceivedDocument(read?.policy)).toEqual([])
  })

  it('a default intention of the mesh that is not known denies', () => {
    const read = readPolicyDocument({ service: 'mesh', defaultIntention: 'ask-somebody' })
    expect(read?.policy).toEqual({ service: 'mesh', defaultIntention: 'deny' })
  })

  it('says which routes are left out', () => {
    const routes = [{ name: 'a', shadow: 1 }, { name: 'b', retry: { shadow: 1 } }, 7]
    expect(readPolicyDocument({ service: 'stock', routes })?.issue).toMatch(
      /^routes\[0\]\.shadow: unknown key; valid keys are name, match, .*; without the routes "a", one without a name, their requests go on to the next that matches$/,
    )
  })

  it('is taken with routes that only its author has to mend', () => {
    const routes = [
      { name: 'all', to: 'green' },
      { name: 'never', match: [{ path: '/a' }] },
    ]
    const document = { service: 'stock', routes }
    expect(checkPolicyDocument(document)).toHaveLength(2)
    expect(readPolicyDocument(document)).toEqual({ policy: document, issue: undefined })
  })

  it('the document itself stays as it was, and nothing is told of a whole one', () => {
    const document = { service: 'stock', timeout: '3s', mirror: 1 }
    readPolicyDocument(document)
    expect(document).toHaveProperty('mirror')
    const whole = { service: 'stock', timeout: '3s' }
    expect(readPolicyDocument(whole)).toEqual({ policy: whole, issue: undefined })
  })

  it.each([
    ['no object', 7],
    ['a list', []],
    ['no service', { timeout: '3s' }],
    ['another kind of service', { service: 5 }],
  ])('nothing, when it is %s', (_, document) => expect(readPolicyDocument(document)).toBeUndefined())
})

describe('a snapshot with such a document', () => {
  const read = (policy: unknown, more: object = {}): ServiceView => {
    const line = { type: 'snapshot', service: 'stock', epoch: 'e', revision: 7, instances: [instance('stock', 's1')] }
    const message = readServerMessage(JSON.stringify({ ...line, policy, ...more }))
    return viewOf(message as Extract<ServerMessage, { type: 'snapshot' }>)
  }
  const good = read({ service: 'stock', timeout: '3s' })
  const newer = read({ service: 'stock', timeout: '9s', mirror: 1 })

  it('brings its instances and the last good policy stays, as often as it comes', () => {
    let view = retainLastGood(good, undefined)
    for (let i = 0; i < 3; i++) {
      view = retainLastGood(newer, view)
      expect(view.document.policy).toEqual({ service: 'stock', timeout: '3s' })
      expect(view.endpoints.instances).toHaveLength(1)
    }
    expect(retainLastGood(read({ service: 'stock', timeout: '5s' }), view).document.policy).toEqual({
      service: 'stock',
      timeout: '5s',
    })
  })

  it('brings the part that can be read when there was no good one, and each newer part', () => {
    const first = retainLastGood(newer, undefined)
    expect(first.document.policy).toEqual({ service: 'stock', timeout: '9s' })
    const next = retainLastGood(read({ service: 'stock', timeout: '8s', mirror: 1 }), first)
    expect(next.document.policy).toEqual({ service: 'stock', timeout: '8s' })
  })

  it('leaves out instances of a protocol that is not known, and refuses a list of nonsense whole', () => {
    const instances = [instance('stock', 's1'), { ...instance('stock', 's2'), protocol: 'quic' }]
    expect(read(null, { instances }).endpoints.instances.map(({ id }) => id)).toEqual(['s1'])
    expect(() => read(null, { instances: [{ ...instance('stock', 's2'), protocol: 7 }] })).toThrow(/protocol/)
  })
})
