/**
 * `inmesh deny` between processes under load: the denied service is cut off at once, by callers and
 * by servers, and no call of another service is affected.
 */
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Mesh } from '../../src/index.ts'
import { run } from '../cli/run-command.ts'
import { FLEET_TEST_MS, Fleet } from './fleet.ts'
import { countOf, eventually, Rig, wait } from './rig.ts'

let rig: Rig

beforeEach(() => {
  rig = new Rig()
})

afterEach(async () => {
  await rig.close()
})

const idOf = (service: string): string => `spiffe://inmesh.local/service/${service}`

interface Audited {
  readonly who: string
  readonly reason?: string
}

/** The command of an operator. */
async function inmesh(fleet: Fleet, ...args: string[]): Promise<{ readonly stdout: string }> {
  const at = ['--registry', String(fleet.url), '--data-dir', rig.path('registry')]
  const { code, stdout, stderr } = await run([...args, ...at], { env: { HOME: rig.directory } })
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return { stdout }
}

/** What a call ends with: the name of the server that answered, or why there was none. */
async function outcome(mesh: Mesh, path = '/'): Promise<string> {
  try {
    const response = await mesh.http('inventory').get(path)
    return response.ok ? await response.text() : `status ${response.status}`
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    return /\bdenied\b/.test(message) ? `${code}: denied` : code
  }
}

test(
  'a denied caller is cut off within moments, and comes back when it is allowed; others lose no call',
  async () => {
    const fleet = await Fleet.start(rig, ['one', 'two'], { services: ['thief'] })
    const thief = await rig.join({ service: 'thief', ...fleet.mesh('thief') })
    await eventually('the thief is answered', async () => ['one', 'two'].includes(await outcome(thief)))
    const long = Array.from({ length: 4 }, () => outcome(thief, '/slow?ms=60000'))
    await wait(500)

    await inmesh(fleet, 'deny', idOf('thief'), '--reason', 'key stolen')
    const deniedAt = performance.now()
    await eventually('its calls are refused', async () => (await outcome(thief)) === 'identity-rejected: denied')
    const refusedAfterMs = performance.now() - deniedAt
    expect(await Promise.all(long)).toEqual(Array(4).fill('status 403'))
    expect(refusedAfterMs).toBeLessThan(15_000)
    await eventually('its session ended with the reason', () =>
      thief.events().some(({ name, payload }) => name === 'snapshot:rejected' && payload.subject === 'identity-denied'),
    )
    await eventually('it has no session', () => countOf(thief, 'registry:lost') === 1)
    await wait(3_000)
    expect(countOf(thief, 'registry:lost'), 'no session was opened again').toBe(1)
    await eventually('it tells why', () =>
      thief
        .events()
        .some(
          ({ name, payload }) =>
            name === 'registry:unreachable' && /identity-denied.*operator denied/.test(String(payload.reason)),
        ),
    )
    // Its pauses grow, as after any refusal.
    const { events } = JSON.parse((await inmesh(fleet, 'audit', '--refused', '--json')).stdout) as { events: Audited[] }
    const tries = events.filter(({ who, reason }) => who === idOf('thief') && reason === 'identity-denied')
    expect(tries.length).toBeGreaterThan(0)
    expect(tries.length).toBeLessThan(30)
    expect(await outcome(thief)).toBe('identity-rejected: denied')

    await inmesh(fleet, 'allow', idOf('thief'))
    await eventually('it is answered again', async () => ['one', 'two'].includes(await outcome(thief)))
    await eventually('it has a session again', () => countOf(thief, 'registry:connected') >= 2)
    await fleet.load.stop()
    expect(fleet.load.failures).toEqual([])
    expect(countOf(fleet.client, 'registry:lost'), 'the sessions of others stay').toBe(0)
  },
  FLEET_TEST_MS,
)

test(
  'a denied service leaves the lists, and its callers end what they have open with it',
  async () => {
    const fleet = await Fleet.start(rig, ['one'], { services: ['rogue', 'billing'] })
    await rig.start('service', {
      mesh: { service: 'rogue', ...fleet.mesh('rogue'), stateDir: rig.path('rogue') },
      name: 'rogue',
      serve: {},
    })
    const billing = await rig.join({ service: 'billing', ...fleet.mesh('billing') })
    const ask = async (path = '/'): Promise<string> => {
      const answer = await billing
        .http('rogue')
        .get(path)
        .catch((error) => error)
      return answer instanceof Error ? (answer as unknown as { code: string }).code : await answer.text()
    }
    await eventually('rogue answers', async () => (await ask()) === 'rogue')
    const long = ask('/slow?ms=60000')
    await wait(500)
    await inmesh(fleet, 'deny', idOf('rogue'), '--for', '1h')
    expect(await long).toMatch(/^(?:connection-lost|identity-rejected|no-endpoints)$/)
    await eventually('it is called no more', async () => /^(?:identity-rejected|no-endpoints)$/.test(await ask()))
    await eventually('it left the list', async () => (await ask()) === 'no-endpoints')
    expect(await outcome(billing)).toBe('one')
    await fleet.load.stop()
    expect(fleet.load.failures).toEqual([])
    await inmesh(fleet, 'allow', idOf('rogue'))
    await eventually('it registers again by itself', async () => (await ask()) === 'rogue')
  },
  FLEET_TEST_MS,
)

test(
  'a server that is cut off from the registry keeps refusing, also after a restart',
  async () => {
    const fleet = await Fleet.start(rig, ['one'], { services: ['thief'] })
    await fleet.load.stop()
    const thief = await rig.join({ service: 'thief', ...fleet.mesh('thief') })
    await eventually('the thief is answered', async () => (await outcome(thief)) === 'one')
    await inmesh(fleet, 'deny', idOf('thief'))
    await eventually('its calls are refused', async () => (await outcome(thief)) === 'identity-rejected: denied')
    await fleet.registry.kill()
    expect(await outcome(thief)).toBe('identity-rejected: denied')
    const { port } = fleet.servers.get('one')!.messages[0] as { port: number }
    await fleet.servers.get('one')!.kill()
    await fleet.serve('again', port, 'one')
    // Its intentions may refuse callers until it hears of the policies.
    expect(await outcome(fleet.client)).toMatch(/^(?:again|status 403)$/)
    await eventually('the restarted server refuses', async () => (await outcome(thief)) === 'identity-rejected: denied')
  },
  FLEET_TEST_MS,
)
