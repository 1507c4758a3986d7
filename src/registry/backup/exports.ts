/** The exports of a running registry: at most two at a time, each at one revision. */
import type { Clock } from '../../core/clock.ts'
import { VERSION } from '../../core/version.ts'
import { ApiError } from '../api/error.ts'
import type { Storage } from '../storage/storage.ts'
import { exportState } from './export-state.ts'
import type { BackupOrigin } from './head.ts'

const MOST_AT_ONCE = 2

export class Exports {
  readonly #storage: Storage
  readonly #clock: Clock
  #running = 0

  constructor(storage: Storage, clock: Clock) {
    this.#storage = storage
    this.#clock = clock
  }

  /**
   * Writes the origin as the first line, then the lines of a backup, until `write` resolves to
   * false.
   *
   * @throws ApiError `overloaded`
   */
  async run(trustDomain: string, write: (lines: string) => Promise<boolean>): Promise<void> {
    if (this.#running >= MOST_AT_ONCE) {
      throw new ApiError('overloaded', `${MOST_AT_ONCE} backups are being made; try again later`)
    }
    const { engine } = this.#storage.status()
    const origin: BackupOrigin = { trustDomain, createdAt: this.#clock.wallNow(), version: VERSION, engine }
    this.#running += 1
    try {
      if (!(await write(`${JSON.stringify(origin)}\n`))) return
      for await (const lines of exportState(this.#storage)) if (!(await write(lines))) return
    } finally {
      this.#running -= 1
    }
  }
}
