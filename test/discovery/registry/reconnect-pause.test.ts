import { describe, expect, it } from 'vitest'
import { ReconnectPause } from '../../../src/discovery/registry/reconnect-pause.ts'

describe('the pause before the next connection', () => {
  const many = (pause: ReconnectPause, count: number): number[] => Array.from({ length: count }, () => pause.next(1))

  it('doubles up to 10 s while no registry has answered', () => {
    const pauses = many(new ReconnectPause(), 12)
    expect(pauses.slice(0, 3)).toEqual([150, 250, 450])
    expect(pauses.at(-1)).toBe(10_050)
  })

  it.each([
    [900, 410],
    [15_000, 6_050],
    [3_600_000, 10_050],
    [300, 250],
  ])('with a lease of %i ms never exceeds %i ms', (leaseMs, longest) => {
    const pause = new ReconnectPause()
    pause.greeted(leaseMs)
    expect(Math.max(...many(pause, 20))).toBe(longest)
  })

  it('is what the registry asked for, once, and short again after a session lasted', () => {
    const pause = new ReconnectPause()
    pause.greeted(900)
    pause.asked(10_000)
    expect(pause.next(1)).toBe(10_050)
    expect(pause.next(1)).toBe(250)
    pause.greeted(900)
    expect(pause.next(1)).toBe(410)
    pause.lasted()
    expect(pause.next(1)).toBe(150)
  })
})
