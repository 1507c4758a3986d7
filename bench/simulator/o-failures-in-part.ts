/**
 * (o) 10 clients of 20 servers at 70 %. From second 6 to 36 one server fails in part. Calls fail
 * after 1 s and are not tried again. Failed calls in percent, less what fails without the fault.
 */
import { outcome, SUCCESS } from '../../src/core/outcome.ts'
import { answersAfter } from '../../src/simulator/server.ts'
import { Crowd } from './crowd.ts'

const FROM_MS = 6_000
const UNTIL_MS = 36_000
const FAILURE = outcome('failure', 'server-error', undefined, 500)

export interface FailuresInPart {
  readonly what: string
  readonly calls: number
  readonly failed: number
  readonly failedPercent: number
  /** Of the calls while it fails, over the fair share. */
  readonly share: number
  /** Ejections of servers that do not differ from the others. */
  readonly unfounded: number
}

export const PARTIAL_FAULTS = [
  '30 % fail',
  'half fail in 1 ms',
  'a third of the servers fail 30 %',
  'all fail 30 %',
  'all fail 2 %',
  'none',
] as const
export type PartialFault = (typeof PARTIAL_FAULTS)[number]

export function failuresInPart(seed: number, what: PartialFault): FailuresInPart {
  const crowd = new Crowd({
    ...{ seed, clients: 10, servers: 20, workers: 4, meanMs: 40, load: 0.7, lengthMs: 40_000 },
    options: { retry: { attempts: 1 }, timeout: 1_000 },
  })
  const { chance } = crowd
  const ill = what === 'none' ? 0 : what.startsWith('all') ? crowd.all.length : what.startsWith('a third') ? 6 : 1
  const share = what === 'all fail 2 %' ? 0.02 : what === 'half fail in 1 ms' ? 0.5 : 0.3
  const soon = answersAfter(crowd.clock, () => 1, FAILURE)
  let unfounded = 0
  crowd.onEjected = (id) => {
    if (ill === crowd.all.length || Number(id.slice(1)) >= ill) unfounded += 1
  }
  let arrived = 0
  crowd.at(FROM_MS, () => {
    for (const each of crowd.all.slice(0, ill)) {
      each.server.handler = (call, reply) => {
        if (!chance.happens(share)) each.well(call, reply)
        else if (what === 'half fail in 1 ms') soon(call, reply)
        else each.well(call, (ended) => reply(ended === SUCCESS ? FAILURE : ended))
      }
    }
    arrived = -crowd.all[0]!.server.arrived
  })
  crowd.at(UNTIL_MS, () => {
    for (const each of crowd.all) each.server.handler = each.well
    arrived += crowd.all[0]!.server.arrived
  })
  const { calls, failed, callsBySecond } = crowd.run()
  const during = callsBySecond.slice(FROM_MS / 1_000, UNTIL_MS / 1_000).reduce((sum, each) => sum + each, 0)
  return {
    ...{ what, calls, failed, unfounded },
    failedPercent: (100 * failed) / during,
    share: (arrived * crowd.all.length) / during,
  }
}
