import { describe, expect, it } from 'vitest'
import { loopWaitMs } from '../../src/server/loop-wait.ts'
import { ProcessLoad } from '../../src/server/process-load.ts'
import { ServerLoad } from '../../src/server/server-load.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

function setUp(waitMs = 0) {
  const clock = new FakeClock()
  const load = new ServerLoad({
    clock,
    anonymous: false,
    orca: false,
    process: new ProcessLoad(),
    loopWaitMs: () => waitMs,
  })
  const arrive = (): number => load.arrived(clock.now())
  /** A request that takes `ms`, alone. */
  const serve = (ms: number): void => {
    const others = arrive()
    const startedAt = clock.now()
    clock.advance(ms)
    load.answered(others, load.servedMs(startedAt, clock.now()))
    load.ended(false)
  }
  return { clock, load, arrive, serve }
}

describe('what a server reports', () => {
  it('is nothing until a request was answered well', () => {
    const { clock, load, arrive, serve } = setUp()
    arrive()
    load.ended(false)
    arrive()
    expect(load.report(5, clock.now())).toBeUndefined()
    load.ended(false)
    serve(20)
    arrive()
    expect(load.report(5, clock.now())).toEqual({ inFlight: 0, latencyMs: 20, servedMs: 5 })
  })

  it('has the wait for the event loop in both times', () => {
    const { clock, load, arrive, serve } = setUp(30)
    serve(20)
    arrive()
    const startedAt = clock.now()
    clock.advance(10)
    expect(load.report(load.servedMs(startedAt, clock.now()), clock.now())).toEqual({
      inFlight: 0,
      latencyMs: 50,
      servedMs: 40,
    })
  })

  it('follows the load at once, and new answers within milliseconds', () => {
    const { clock, load, arrive, serve } = setUp()
    for (let i = 0; i < 20; i++) serve(20)
    arrive()
    expect(load.report(1, clock.now())!.latencyMs).toBe(20)
    for (let i = 0; i < 7; i++) arrive()
    expect(load.report(1, clock.now())!.latencyMs).toBe(180)
    for (let i = 0; i < 7; i++) load.ended(false)
    expect(load.report(1, clock.now())!.latencyMs).toBe(20)
    for (let i = 0; i < 20; i++) {
      load.answered(arrive(), 60)
      load.ended(false)
    }
    clock.advance(20)
    expect(load.report(1, clock.now())!.latencyMs).toBe(60)
  })

  it('has an instant answer as the shortest time that there is, not as an unknown one', () => {
    const { clock, load, arrive, serve } = setUp()
    serve(0)
    arrive()
    expect(load.report(0.5, clock.now())!.latencyMs).toBeGreaterThan(0)
  })

  it('counts a cancelled request until its handler is done, and five seconds at most', () => {
    const { clock, load, arrive, serve } = setUp()
    serve(20)
    const calls = Array.from({ length: 200 }, () => {
      arrive()
      return load.abandoned()
    })
    const inFlight = (): number => {
      arrive()
      const reported = load.report(1, clock.now())!.inFlight
      load.ended(false)
      return reported
    }
    expect(inFlight()).toBe(200)
    load.handlerDone(calls[7]!)
    load.handlerDone(calls[7]!)
    expect(inFlight()).toBe(199)
    clock.advance(4_999)
    expect(inFlight()).toBe(199)
    clock.advance(1)
    expect(inFlight()).toBe(0)
    for (const call of calls) load.handlerDone(call)
    expect(inFlight()).toBe(0)
  })

  it('counts it no longer after that, even if no other request has arrived since', () => {
    const { clock, load, arrive, serve } = setUp()
    serve(20)
    arrive()
    for (let i = 0; i < 3; i++) {
      arrive()
      load.abandoned()
    }
    clock.advance(5_000)
    expect(load.report(1, clock.now())!.inFlight).toBe(0)
  })
})

describe('the wait for the event loop', () => {
  const busy = async (turnMs: number, forMs: number): Promise<number> => {
    const until = performance.now() + forMs
    let wait = loopWaitMs(performance.now())
    while (performance.now() < until) {
      const free = performance.now() + turnMs
      while (performance.now() < free);
      await new Promise((resolve) => setImmediate(resolve))
      wait = loopWaitMs(performance.now())
    }
    return wait
  }

  it('grows with the length of the turns of the loop', async () => {
    expect(await busy(60, 900)).toBeGreaterThan(10)
  })
})
