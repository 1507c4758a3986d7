import { describe, expect, it } from 'vitest'
import { unreadableIssue } from '../../src/discovery/instance-reader.ts'
import { readServerMessage } from '../../src/discovery/registry/message-reader.ts'
import { applyDelta, retainLastGood, type ServiceView, viewOf } from '../../src/discovery/registry/service-view.ts'
import { SnapshotParts } from '../../src/discovery/registry/snapshot-parts.ts'
import { readStoredView } from '../../src/discovery/registry/stored-view.ts'
import type { ServerMessage } from '../../src/discovery/registry/wire.ts'
import { instance } from '../rigs/instance.ts'

const HEAD = { service: 'stock', epoch: 'e', revision: 1, policy: null, intended: false, frozen: false }
type Snapshot = Extract<ServerMessage, { type: 'snapshot' }>
type Delta = Extract<ServerMessage, { type: 'delta' }>

const message = (value: object): ServerMessage => readServerMessage(JSON.stringify(value))!
const snapshot = (instances: unknown[], more: object = {}): ServiceView =>
  viewOf(message({ type: 'snapshot', ...HEAD, instances, ...more }) as Snapshot)
const delta = (more: object): Delta =>
  message({ type: 'delta', service: 'stock', previous: 1, revision: 2, ...more }) as Delta
const ids = ({ endpoints }: Pick<ServiceView, 'endpoints'>) => endpoints.instances.map(({ id }) => id)

const good = instance('stock', 's1')
const WRONG: readonly (readonly [what: string, instance: unknown])[] = [
  ['a weight beyond those known', { ...instance('stock', 's2'), weight: 5_000 }],
  ['no address', { ...instance('stock', 's2'), address: undefined }],
  ['another kind of tls', { ...instance('stock', 's2'), tls: 'mutual' }],
  ['more metadata than is known', { ...instance('stock', 's2'), metadata: { a: 'x'.repeat(513) } }],
  ['a service that is another', instance('prices', 's2')],
  ['no fields', null],
]

describe('an instance that cannot be read', () => {
  it.each(WRONG)('with %s takes no other along, and is told', (_, wrong) => {
    const view = snapshot([wrong, good])
    expect(ids(view)).toEqual(['s1'])
    expect(unreadableIssue(view.endpoints)).toMatch(/^(instance s2: )?instance/)
    const change = delta({ put: [good, wrong] })
    expect(change.put!.map(({ id }) => id)).toEqual(['s1'])
    expect(change.unread).toHaveLength(1)
  })

  it('stays as it was read last, in a list and in a change', () => {
    const both = retainLastGood(snapshot([good, instance('stock', 's2')]), undefined)
    const wrong = { ...instance('stock', 's2'), weight: 5_000 }
    const again = retainLastGood(snapshot([good, wrong]), both)
    expect(ids(again)).toEqual(['s1', 's2'])
    expect(again.endpoints.instances[1]!.weight).toBe(100)
    expect(ids(retainLastGood(applyDelta(again, delta({ put: [wrong] })), again))).toEqual(['s1', 's2'])
    expect(ids(retainLastGood(snapshot([good]), again))).toEqual(['s1'])
  })

  it('is named once, however often it comes, and the rest are counted', () => {
    const wrong = (id: string) => ({ ...instance('stock', id), weight: 5_000 })
    expect(unreadableIssue(snapshot([good, wrong('s2'), wrong('s3')]).endpoints)).toMatch(
      /^instance s2: .*weight.*, and 1 more$/,
    )
    expect(unreadableIssue(snapshot([good]).endpoints)).toBeUndefined()
  })

  it('on the disk keeps its service', () => {
    const view = { ...HEAD, instances: [good, WRONG[0]![1]], left: [] }
    expect(ids(readStoredView(view))).toEqual(['s1'])
  })

  it('in one part of a long list takes no other part along', () => {
    const parts = new SnapshotParts()
    const wrong = { ...instance('stock', 's2'), weight: 5_000 }
    const part = { type: 'part', service: 'stock', revision: 1, part: 1, instances: [wrong] }
    expect(parts.take(message({ type: 'snapshot', ...HEAD, instances: [good], parts: 1 }) as Snapshot)).toBeUndefined()
    const whole = parts.take(message(part) as Extract<ServerMessage, { type: 'part' }>)!
    expect(whole.instances.map(({ id }) => id)).toEqual(['s1'])
    expect(whole.unread).toHaveLength(1)
  })
})

describe('an instance of a kind that is not known', () => {
  const newer = { ...instance('stock', 's1'), protocol: 'quic' }

  it('is no endpoint, and a list of nothing else is an empty one that is not meant, and told', () => {
    const view = snapshot([newer], { intended: true })
    expect(ids(view)).toEqual([])
    expect(view.endpoints.intended).toBe(false)
    expect(unreadableIssue(view.endpoints)).toMatch(/protocol/)
    expect(snapshot([newer, good]).endpoints.unread).toBeUndefined()
  })

  it('that was of a known kind before is listed no more, by a change as by a list', () => {
    const view = retainLastGood(snapshot([good]), undefined)
    expect(ids(applyDelta(view, delta({ put: [newer] })))).toEqual([])
    expect(ids(applyDelta(view, delta({ put: [{ ...good, state: 'warming' }] })))).toEqual([])
    expect(ids(retainLastGood(snapshot([newer]), view))).toEqual([])
  })
})

describe('the transports of an instance', () => {
  const transportsOf = (given: unknown) =>
    snapshot([{ ...good, transports: given }]).endpoints.instances.map(({ transports }) => transports)

  it('are kept in their order, also those of later versions, and absent from an older one', () => {
    expect(transportsOf(['inmesh/2', 'inmesh/1', 'http/1.1'])).toEqual([['inmesh/2', 'inmesh/1', 'http/1.1']])
    for (const absent of [undefined, null]) expect(transportsOf(absent)).toEqual([undefined])
  })

  it('lose what is malformed, and never make the instance unreadable', () => {
    expect(transportsOf(['h2', 7, '', 'H2 ', 'x'.repeat(33), null, 'http/1.1'])).toEqual([['h2', 'http/1.1']])
    for (const wrong of ['h2', 7, {}, [], [7]]) expect(transportsOf(wrong)).toEqual([undefined])
    expect(transportsOf(Array.from({ length: 1_000 }, (_, i) => `t${i}`))[0]).toHaveLength(8)
  })

  it('are on the disk as in a message', () => {
    const [kept] = readStoredView({ ...HEAD, instances: [{ ...good, transports: ['inmesh/1'] }] }).endpoints.instances
    expect(kept!.transports).toEqual(['inmesh/1'])
  })
})

describe('a reason that is not known', () => {
  it('of an instance that is gone does not count as leaving on purpose', () => {
    expect(delta({ gone: [{ id: 's1', why: 'moved' }] }).gone).toEqual([{ id: 's1', why: 'lost' }])
  })

  it('of an instance of ours that was taken off the list is told as it is', () => {
    expect(message({ type: 'unlisted', id: 's1', why: 'superseded' })).toEqual({
      type: 'unlisted',
      id: 's1',
      why: 'superseded',
    })
  })
})

describe('a document that is none', () => {
  it.each(['open all doors', 7, [], { service: 'Stock!' }])('(%j) hides no endpoint, and opens no door', (policy) => {
    const view = retainLastGood(snapshot([good], { policy }), undefined)
    expect(ids(view)).toEqual(['s1'])
    expect(view.document.policy).toEqual({ service: 'stock', allow: [] })
    expect(view.document.policyIssue).toBeDefined()
    const before = retainLastGood(snapshot([good], { policy: { service: 'stock', timeout: '3s' } }), undefined)
    expect(retainLastGood(snapshot([good], { policy }), before).document.policy).toEqual({
      service: 'stock',
      timeout: '3s',
    })
  })

  it('of the mesh denies by default', () => {
    const view = viewOf(message({ type: 'snapshot', ...HEAD, service: 'mesh', instances: [], policy: 7 }) as Snapshot)
    expect(view.document.policy).toEqual({ service: 'mesh', defaultIntention: 'deny' })
  })
})
