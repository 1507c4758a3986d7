import { describe, expect, it } from 'vitest'
import { Drain, type Drainable } from '../../src/server/drain.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

class Door implements Drainable {
  inFlight = 0
  readonly steps: string[] = []

  retire(): void {
    this.steps.push('retire')
  }
  stopAccepting(): void {
    this.steps.push('stop')
  }
  cancelAll(): number {
    this.steps.push('cancel')
    return this.inFlight
  }
  closeConnections(): Promise<void> {
    this.steps.push('close')
    return Promise.resolve()
  }
}

describe('a drain', () => {
  it('serves on while clients find out, then stops accepting, then finishes what runs', async () => {
    const [clock, door] = [new FakeClock(), new Door()]
    const drain = new Drain(door, clock)
    door.inFlight = 2
    const report = drain.start({ lameDuckMs: 1_000, graceMs: 5_000 })
    await clock.settle(999)
    expect([drain.state, door.steps]).toEqual(['lame-duck', ['retire']])
    door.inFlight = 1
    drain.callEnded()
    await clock.settle(1)
    expect([drain.state, door.steps]).toEqual(['finishing', ['retire', 'stop']])
    await clock.settle(3_000)
    door.inFlight = 0
    drain.callEnded()
    expect(await report).toEqual({ finished: 2, cancelled: 0 })
    expect([drain.state, door.steps]).toEqual(['closed', ['retire', 'stop', 'cancel', 'close']])
    expect(clock.timers).toBe(0)
  })

  it.each([
    ['all clients have seen it', () => Promise.resolve()],
    ['nobody can tell any more', () => Promise.reject(new Error('registry is gone'))],
  ])('ends the lame duck when %s, and what they had sent by then has had time to arrive', async (_, seen) => {
    const [clock, door] = [new FakeClock(), new Door()]
    const drain = new Drain(door, clock)
    const report = drain.start({ lameDuckMs: 1_000, seen: seen() })
    await clock.settle(99)
    expect([drain.state, door.steps]).toEqual(['lame-duck', ['retire']])
    await clock.settle(1)
    expect(await report).toEqual({ finished: 0, cancelled: 0 })
    expect([clock.now(), clock.timers]).toEqual([100, 0])
  })

  it('gives what runs its whole grace, though clients have seen it only after the lame duck', async () => {
    const [clock, door] = [new FakeClock(), new Door()]
    const seen = Promise.withResolvers<void>()
    door.inFlight = 1
    const drain = new Drain(door, clock)
    const report = drain.start({ lameDuckMs: 1_000, graceMs: 5_000, seen: seen.promise })
    await clock.settle(1_000)
    expect(drain.state).toBe('finishing')
    seen.resolve()
    await clock.settle(1_000)
    expect(door.steps).toEqual(['retire', 'stop'])
    door.inFlight = 0
    drain.callEnded()
    expect(await report).toEqual({ finished: 1, cancelled: 0 })
  })

  it('cancels what is left after the grace', async () => {
    const [clock, door] = [new FakeClock(), new Door()]
    door.inFlight = 3
    const report = new Drain(door, clock).start({ lameDuckMs: 0, graceMs: 100 })
    await clock.settle(99)
    expect(door.steps).not.toContain('cancel')
    await clock.settle(1)
    expect(await report).toEqual({ finished: 0, cancelled: 3 })
  })

  it('counts nothing that ended before it began, and runs once however often it is started', async () => {
    const [clock, door] = [new FakeClock(), new Door()]
    const drain = new Drain(door, clock)
    drain.callEnded()
    const first = drain.start({ lameDuckMs: 0 })
    expect(drain.start()).toBe(first)
    expect(await first).toEqual({ finished: 0, cancelled: 0 })
  })

  it('is hastened in whichever state it is', async () => {
    for (const waited of [0, 1_500]) {
      const [clock, door] = [new FakeClock(), new Door()]
      door.inFlight = 1
      const drain = new Drain(door, clock)
      const report = drain.start({ lameDuckMs: 1_000, graceMs: 1_000 })
      await clock.settle(waited)
      drain.hasten()
      expect(await report).toEqual({ finished: 0, cancelled: 1 })
      expect(clock.timers).toBe(0)
    }
  })
})
