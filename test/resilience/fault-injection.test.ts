import { describe, expect, it } from 'vitest'
import { drawFault, resolveFaults } from '../../src/resilience/fault-injection.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

function request(peer: string | undefined, headers: Record<string, string> = {}) {
  return { peer, header: (name: string) => headers[name] }
}

describe('faults on purpose', () => {
  it('hit the callers and headers they are for, and the first that matches counts', () => {
    const clock = new FakeClock()
    const rules = resolveFaults([
      { status: 503, from: 'checkout', headers: { 'X-Fault': '1' } },
      { delay: '50ms', from: 'checkout' },
    ])
    const draw = (...of: Parameters<typeof request>) => drawFault(rules, request(...of), clock)
    expect(draw('checkout', { 'x-fault': '1' })).toMatchObject({ status: 503, delayMs: 0 })
    expect(draw('checkout', { 'x-fault': '2' })).toMatchObject({ status: undefined, delayMs: 50 })
    expect(draw('audit', { 'x-fault': '1' })).toBeUndefined()
    expect(draw(undefined)).toBeUndefined()
  })

  it('hit their share', () => {
    const clock = new FakeClock({ seed: 3 })
    const rules = resolveFaults([{ status: 500, share: '20%' }])
    let hit = 0
    for (let i = 0; i < 10_000; i++) if (drawFault(rules, request('checkout'), clock) !== undefined) hit += 1
    expect(hit / 10_000).toBeCloseTo(0.2, 1)
    expect(drawFault(resolveFaults([{ status: 500, share: 0 }]), request('checkout'), clock)).toBeUndefined()
  })

  it('are checked', () => {
    expect(() => resolveFaults([{ share: 0.5 }])).toThrow(/is no fault: expected delay, status or both/)
    expect(() => resolveFaults([{ status: 200 }, { dealy: 5 } as never])).toThrow(
      /\[0\]\.status.*\[1\]\.dealy.*'delay'/s,
    )
  })
})
