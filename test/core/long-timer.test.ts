import { afterEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'

const DAY_MS = 86_400_000

afterEach(() => {
  vi.useRealTimers()
})

describe('a timer of more than 24.8 days, the longest of Node', () => {
  it.each(['startTimer', 'startBackgroundTimer'] as const)('%s fires at its time and not before', (start) => {
    vi.useFakeTimers()
    const fired: number[] = []
    const begun = Date.now()
    systemClock[start](60 * DAY_MS, (days) => fired.push(days), 60)
    vi.advanceTimersByTime(60 * DAY_MS - 1)
    expect(fired).toEqual([])
    vi.advanceTimersByTime(1)
    expect([fired, Date.now() - begun]).toEqual([[60], 60 * DAY_MS])
    expect(vi.getTimerCount()).toBe(0)
  })

  it('can be stopped in any part of it', () => {
    vi.useFakeTimers()
    for (const days of [1, 30]) {
      const fire = vi.fn()
      const timer = systemClock.startTimer(40 * DAY_MS, fire, undefined)
      vi.advanceTimersByTime(days * DAY_MS)
      systemClock.stopTimer(timer)
      expect(vi.getTimerCount()).toBe(0)
      vi.advanceTimersByTime(60 * DAY_MS)
      expect(fire).not.toHaveBeenCalled()
    }
  })

  it('never fires if it is endless', () => {
    vi.useFakeTimers()
    const fire = vi.fn()
    systemClock.startTimer(Number.POSITIVE_INFINITY, fire, undefined)
    vi.advanceTimersByTime(100 * DAY_MS)
    expect(fire).not.toHaveBeenCalled()
  })
})
