/**
 * The machine's clock leaps 25 h ahead for all processes at once, as after a sleep. Debian's
 * libfaketime also changes the time that OpenSSL reads; the monotonic clock stays right.
 */
import { execFileSync } from 'node:child_process'
import { globSync, writeFileSync } from 'node:fs'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { FLEET_TEST_MS, Fleet, OPEN } from './fleet.ts'
import { eventually, Rig } from './rig.ts'

function library(): string | undefined {
  const [found] = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')
  if (found !== undefined || process.platform !== 'linux') return found
  try {
    const options = { stdio: 'ignore', timeout: 120_000 } as const
    execFileSync('apt-get', ['install', '-y', '--no-install-recommends', 'libfaketime'], options)
  } catch {
    return undefined
  }
  return globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')[0]
}

const faketime = library()
const skipped = faketime === undefined ? ' (SKIPPED: libfaketime is missing and could not be installed)' : ''
if (skipped !== '') console.warn(`a leap of the system clock${skipped}`)

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

test.skipIf(faketime === undefined).each(['http', 'grpc'])(
  `a leap of the system clock by 25 h for all processes costs no request by %s, and none joins again${skipped}`,
  async (protocol) => {
    const file = rig.path('clock')
    writeFileSync(file, '+0\n')
    const environment = {
      LD_PRELOAD: faketime!,
      FAKETIME_TIMESTAMP_FILE: file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
    }
    const grpc = protocol === 'grpc'
    const fleet = new Fleet(rig, { environment, program: grpc ? 'grpc-service' : 'service' })
    await fleet.startRegistry({ tokens: ['inventory', 'checkout'], policies: OPEN })
    await Promise.all(['a', 'b'].map((name) => fleet.serve(name)))
    const mesh = { service: 'checkout', ...fleet.mesh('checkout'), stateDir: 'memory' }
    const caller = await rig.start('caller', { mesh, grpc }, environment)
    const answered = async (from: Record<string, number> = {}): Promise<Record<string, number>> => {
      let answers: Record<string, number> = {}
      await eventually('both answer', async () => {
        answers = (await caller.ask('answers')).answers as Record<string, number>
        return ['a', 'b'].every((name) => (answers[name] ?? 0) >= (from[name] ?? 0) + 50)
      })
      return answers
    }
    await answered()

    writeFileSync(file, '+25h\n')
    // By HTTP on new connections, too, while no process has a new certificate.
    if (!grpc) await caller.ask('burst')
    let renewals: unknown
    await eventually('the caller has a new certificate', async () => {
      renewals = (await caller.ask('answers')).renewals
      return (renewals as boolean[]).length > 0
    })
    expect(renewals).toEqual([false])
    // Until servers judge by the leapt clock.
    const until = performance.now() + 12_000
    let last = await answered()
    while (performance.now() < until) last = await answered(last)
    expect(await caller.ask('stop')).toEqual({ lost: [] })
  },
  FLEET_TEST_MS,
)
