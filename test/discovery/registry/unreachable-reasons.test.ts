import { describe, expect, it } from 'vitest'
import { UnreachableReasons } from '../../../src/discovery/registry/unreachable-reasons.ts'

describe('the reasons why a registry is unreachable', () => {
  it('are new once for each address, also when times in them differ', () => {
    const reasons = new UnreachableReasons()
    expect(reasons.isNew('a', 'expired at 10:00')).toBe(true)
    expect(reasons.isNew('a', 'expired at 10:01')).toBe(false)
    expect(reasons.isNew('a', 'refused')).toBe(true)
    expect(reasons.isNew('b', 'refused')).toBe(true)
  })

  it('are new again after a session', () => {
    const reasons = new UnreachableReasons()
    reasons.isNew('a', 'refused')
    reasons.clear()
    expect(reasons.isNew('a', 'refused')).toBe(true)
  })

  it('are bounded, whatever a stranger answers', () => {
    const reasons = new UnreachableReasons()
    const text = (i: number): string => 'x'.repeat(i)
    const reported = Array.from({ length: 1_000 }, (_, i) => reasons.isNew('a', text(i))).filter(Boolean)
    expect(reported.length).toBeLessThan(100)
  })
})
