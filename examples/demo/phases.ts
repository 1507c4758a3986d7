/**
 * What the demo does to its services while the load runs. Each phase lasts `seconds` and does its
 * harm inside that time.
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { Processes } from './processes.ts'

export const INVENTORIES = ['inventory-1', 'inventory-2', 'inventory-3'] as const
const POLICY_CHANGE = new URL('./policies-with-visitor.yaml', import.meta.url).pathname
/** Usually some tens of milliseconds; a busy machine may stop a process for a while. */
const IN_FORCE_BOUND_MS = 10_000

export interface Scene {
  readonly processes: Processes
  readonly seconds: number
  /** The visitor asks prices by itself, which only the last phase's policy allows: was it? */
  askPrices(): Promise<boolean>
  /** Whom it hurts most to lose: who sends the stream, if there is one. */
  victim(): Promise<string>
  /** A line under the table. */
  say(line: string): void
}

export interface Phase {
  readonly name: string
  run(scene: Scene): Promise<void>
}

/** Waits for this share of the phase's length. */
function part(scene: Scene, share: number): Promise<void> {
  return wait(scene.seconds * 1000 * share)
}

/** The registry is killed while nothing else serves the services. */
const ONLY_REGISTRY: Phase = {
  name: 'registry killed and started again',
  async run(scene) {
    await part(scene, 0.1)
    await scene.processes.kill('registry')
    scene.say('the registry was killed with -9')
    await part(scene, 0.5)
    await scene.processes.startRegistry()
    scene.say('the registry is back')
    await part(scene, 0.4)
  },
}

const ONE_OF_SEVERAL: Phase = {
  name: 'one registry killed and started again',
  async run(scene) {
    const { processes } = scene
    await part(scene, 0.1)
    const name = processes.registries[0]!
    await processes.kill(name)
    scene.say(`${name} was killed with -9`)
    // What the others are there for: an operator's change while one is dead.
    await processes.inmesh('token', 'create', '--service', 'visitor')
    scene.say('another registry made a join token')
    await part(scene, 0.5)
    await processes.startRegistry(name)
    scene.say(`${name} is back`)
    await part(scene, 0.4)
  },
}

const ALL_OF_SEVERAL: Phase = {
  name: 'all registries killed, started again',
  async run(scene) {
    const { processes } = scene
    await part(scene, 0.1)
    await Promise.all(processes.registries.map((name) => processes.kill(name)))
    scene.say('all registries were killed with -9')
    await part(scene, 0.5)
    await Promise.all(processes.registries.map((name) => processes.startRegistry(name)))
    scene.say('all registries are back')
    await part(scene, 0.4)
  },
}

const SERVICES: readonly Phase[] = [
  {
    name: 'steady',
    run: (scene) => part(scene, 1),
  },
  {
    name: 'kill -9 of one inventory',
    async run(scene) {
      await part(scene, 0.2)
      const victim = await scene.victim()
      await scene.processes.kill(victim)
      scene.say(`${victim} was killed with -9`)
      await part(scene, 0.4)
      await scene.processes.startService('inventory', victim)
      scene.say(`${victim} is back`)
      await part(scene, 0.4)
    },
  },
  {
    name: 'one inventory 100 times slower',
    async run(scene) {
      await part(scene, 0.1)
      scene.processes.tell('inventory-2', { slowness: 100 })
      scene.say('inventory-2 is 100 times slower')
      await part(scene, 0.7)
      scene.processes.tell('inventory-2', { slowness: 1 })
      scene.say('inventory-2 has its speed back')
      await part(scene, 0.2)
    },
  },
  {
    name: 'rolling SIGTERM restart',
    async run(scene) {
      for (const name of INVENTORIES) {
        await part(scene, 0.1)
        await scene.processes.terminate(name)
        await scene.processes.startService('inventory', name)
        scene.say(`${name} was restarted`)
      }
      await part(scene, 0.2)
    },
  },
]

const POLICY_CHANGE_UNDER_LOAD: Phase = {
  name: 'policy change under load',
  async run(scene) {
    await part(scene, 0.2)
    if (await scene.askPrices()) throw new Error('prices answered a visitor before that was allowed')
    await scene.processes.inmesh('apply', '-f', POLICY_CHANGE)
    const applied = performance.now()
    for (;;) {
      // What counts is when the request was sent; on a busy machine the answer may take its time.
      const sentMs = performance.now() - applied
      if (await scene.askPrices()) {
        scene.say(`the new policy was in force ${Math.round(sentMs)} ms after it was applied`)
        break
      }
      if (sentMs > IN_FORCE_BOUND_MS) throw new Error('the policy was not in force within 10 s')
      await wait(10)
    }
    await part(scene, 0.8)
  },
}

/** What happens to a mesh with this many registries. */
export function phasesOf(registries: number): readonly Phase[] {
  const killed = registries === 1 ? [ONLY_REGISTRY] : [ONE_OF_SEVERAL, ALL_OF_SEVERAL]
  return [...SERVICES, ...killed, POLICY_CHANGE_UNDER_LOAD]
}
