/** The driver as the comparison sees it: starts loads, stops them, hands out what they measured. */
import type { Processes } from '../../../examples/demo/processes.ts'
import { within } from '../../../examples/demo/processes.ts'
import type { DriverCommand } from './driver.ts'
import type { Job, LoadResult } from './open-loop.ts'

const DRIVER = 'driver'
/** More than a driver's request may take. */
const STOP_BOUND_MS = 20_000

export class Load {
  readonly #processes: Processes
  #started = 0

  constructor(processes: Processes) {
    this.#processes = processes
  }

  async start(): Promise<void> {
    await this.#processes.fork(DRIVER, new URL('./driver.ts', import.meta.url))
  }

  /**
   * Begins a load; the function that comes back ends it, waits for what is on its way, and says
   * what was measured.
   */
  begin(origin: string, job: Job): () => Promise<LoadResult> {
    const load = `load-${this.#started++}`
    this.#tell({ kind: 'start', load, origin, ...job })
    return () => {
      const answer = this.#answerOf(load)
      this.#tell({ kind: 'stop', load })
      return within(STOP_BOUND_MS, `the end of ${job.prefix}`, answer)
    }
  }

  #tell(command: DriverCommand): void {
    this.#processes.tell(DRIVER, command)
  }

  #answerOf(load: string): Promise<LoadResult> {
    const driver = this.#processes.find(DRIVER)
    if (driver === undefined) return Promise.reject(new Error('the load generator has ended'))
    return new Promise((resolve, reject) => {
      const end = (): void => {
        driver.off('message', hear).off('exit', fail)
      }
      const hear = (message: { load: string; result: LoadResult }): void => {
        if (message.load !== load) return
        end()
        resolve(message.result)
      }
      const fail = (): void => {
        end()
        reject(new Error('the load generator has ended'))
      }
      driver.on('message', hear).once('exit', fail)
    })
  }
}
