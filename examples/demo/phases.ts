/**
 * What the demo does to its services while the load runs. Each phase lasts `seconds` and does its
 * harm inside that time.
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { Processes } from './processes.ts'

export const INVENTORIES = ['inventory-1', 'inventory-2', 'inventory-3'] as const
const POLICY_CHANGE = new URL('./policies-with-visitor.yaml', import.meta.url).pathname

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

export const PHASES: readonly Phase[] = [
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
  {
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
  },
  {
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
        if (sentMs > 1_000) throw new Error('the policy was not in force within 1 s')
        await wait(10)
      }
      await part(scene, 0.8)
    },
  },
]
