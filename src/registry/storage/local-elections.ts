/**
 * Elections within one process: the first candidate leads, the others queue.
 */
import type { Leadership } from './storage.ts'

export class LocalElections {
  #lines = new Map<string, Promise<void>>()

  async campaign(name: string): Promise<Leadership> {
    const before = this.#lines.get(name) ?? Promise.resolve()
    let resign = (): void => {}
    const lost = new Promise<void>((resolve) => {
      resign = resolve
    })
    this.#lines.set(
      name,
      before.then(() => lost),
    )
    await before
    return {
      lost,
      resign: async () => resign(),
    }
  }
}
