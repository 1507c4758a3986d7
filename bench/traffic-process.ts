/**
 * Keeps an hour of traffic as a registry does, without sessions and in virtual time, and tells what
 * it costs. Arguments: the load as JSON, and for how many minutes.
 */
import { cellsOf } from '../src/registry/traffic/cells.ts'
import type { TrafficSession } from '../src/registry/traffic/processes.ts'
import { SLOT_MS } from '../src/registry/traffic/slots.ts'
import { Traffic } from '../src/registry/traffic/traffic.ts'
import { FakeClock } from '../src/testing/fake-clock.ts'
import { type Load, TrafficLoad } from './traffic-load.ts'

const load = JSON.parse(process.argv[2]!) as Load & { readonly minutes: number }
const clock = new FakeClock()
const collect = globalThis.gc ?? ((): void => {})

class Member implements TrafficSession {
  readonly process: string
  readonly who: { readonly service: string }
  readonly instances = new Set<string>()
  readonly notAfter = Number.POSITIVE_INFINITY
  get heardAt(): number {
    return clock.now()
  }

  constructor(service: string, process: string) {
    this.who = { service }
    this.process = `${service} ${process}`
  }
}

const source = new TrafficLoad(load)
const members = Array.from({ length: load.processes }, (_, i) => new Member(source.serviceOf(i), `process-${i}`))
collect()
const before = usedMb()
const traffic = new Traffic({
  clock,
  leaseMs: 15_000,
  beatMs: 5_000,
  isKnown: () => true,
  lists: () => false,
  failed: (error) => {
    throw error
  },
})
for (const member of members) traffic.begin(member, true)
let cpuMs = 0
let rounds = 0
let longestMb = 0
for (let at = 0; at < load.minutes * 60_000; at += SLOT_MS) {
  await round()
  if (rounds % 60 !== 0) continue
  collect()
  longestMb = Math.max(longestMb, usedMb() - before)
}
const span = { from: traffic.rings.settledUntil - 60_000, to: traffic.rings.settledUntil }
const hour = { from: traffic.rings.since, to: traffic.rings.settledUntil }
const answers = {
  mb: longestMb,
  packedMb: traffic.rings.bytes / 2 ** 20,
  minutes: (hour.to - hour.from) / 60_000,
  series: traffic.table.size,
  cpuShare: cpuMs / (rounds * SLOT_MS),
  dropped: traffic.dropped,
  graphMs: await timed(() => cellsOf(traffic, { span, stepMs: 60_000, by: ['version', 'tls'] })),
  hourMs: await timed(() => cellsOf(traffic, { span: hour, stepMs: 3_600_000, by: ['version', 'tls'] })),
}
traffic.close()
process.send?.({ id: 0, told: answers })
if (process.send === undefined) console.log(answers)
process.on('disconnect', () => process.exit())

/** Every process reports once. */
async function round(): Promise<void> {
  rounds += 1
  const texts = members.map((_, i) => JSON.stringify(source.message(i, rounds)))
  const begun = process.cpuUsage()
  // A fifth of them each second, as they come.
  for (let second = 0; second < 5; second++) {
    for (let i = second; i < members.length; i += 5) traffic.report(members[i]!, JSON.parse(texts[i]!))
    await traffic.work()
    clock.advance(1_000)
    await traffic.work()
  }
  const { user, system } = process.cpuUsage(begun)
  cpuMs += (user + system) / 1_000
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work()
  return performance.now() - begun
}

function usedMb(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return (heapUsed + arrayBuffers) / 2 ** 20
}
