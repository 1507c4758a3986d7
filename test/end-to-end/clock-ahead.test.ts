/**
 * The wall clock jumps by 25 h, past the end of all certificates, for one process and for all.
 * OpenSSL's own clock stays.
 */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { FLEET_TEST_MS, Fleet } from './fleet.ts'
import { eventually, type Process, Rig } from './rig.ts'

/** A certificate lives for 24 h. */
const AHEAD_MS = 25 * 3_600_000

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  vi.restoreAllMocks()
  await rig.close()
})

const setClock = (process: Process, aheadMs: number): Promise<unknown> => process.ask(`clock:${aheadMs}`)

test(
  'an instance whose clock is 25 h ahead costs no request, and serves again when the clock is right',
  async () => {
    const fleet = await Fleet.start(rig, ['a', 'b', 'wrong'])
    const wrong = fleet.servers.get('wrong')!
    await setClock(wrong, AHEAD_MS)
    // It refuses its callers, whose certificates have expired by its clock, until no client calls
    // it.
    await eventually('a caller is refused', () => fleet.refused('expired') > 0)
    for (const name of ['a', 'b']) await fleet.answers(name, 50)
    await setClock(wrong, 0)
    await fleet.answers('wrong')
    const { lost } = await fleet.settle()
    expect(lost).toEqual([])
  },
  FLEET_TEST_MS,
)

test(
  'clocks that are all 25 h ahead cost no request: each process has a new certificate',
  async () => {
    const fleet = await Fleet.start(rig, ['a', 'b'])
    const { now } = Date
    await Promise.all([fleet.registry, ...fleet.servers.values()].map((process) => setClock(process, AHEAD_MS)))
    vi.spyOn(Date, 'now').mockImplementation(() => now() + AHEAD_MS)
    await eventually('the caller has a new certificate', () => fleet.renewals > 0)
    for (const name of ['a', 'b']) await fleet.answers(name, 50)
    const { lost } = await fleet.settle()
    expect(lost).toEqual([])
  },
  FLEET_TEST_MS,
)
