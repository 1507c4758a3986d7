/** Which code of a folder has run, by V8's block coverage. */
import { type Profiler, Session } from 'node:inspector/promises'

export class Coverage {
  readonly #session: Session
  readonly #folder: string
  /** Blocks that have run since the beginning. */
  readonly #seen = new Set<string>()
  /** Blocks that one input of the current batch has run. */
  #fresh = new Set<string>()
  running = true

  private constructor(session: Session, folder: string) {
    this.#session = session
    this.#folder = folder
  }

  /** Counts files whose URL contains `folder`. */
  static async start(folder: string): Promise<Coverage> {
    const session = new Session()
    session.connect()
    await session.post('Profiler.enable')
    await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true })
    return new Coverage(session, folder)
  }

  /** Whether code has run since the last call that never ran before. */
  async grew(): Promise<boolean> {
    const blocks = await this.#take()
    this.#fresh = new Set(blocks.filter((block) => !this.#seen.has(block)))
    for (const block of blocks) this.#seen.add(block)
    return this.#fresh.size > 0
  }

  /** After {@link grew}: whether the input run since the last call runs some of the new code. */
  async differs(): Promise<boolean> {
    let found = false
    for (const block of await this.#take()) if (this.#fresh.delete(block)) found = true
    return found
  }

  async stop(): Promise<void> {
    if (!this.running) return
    this.running = false
    await this.#session.post('Profiler.stopPreciseCoverage')
    this.#session.disconnect()
  }

  async #take(): Promise<string[]> {
    const { result } = (await this.#session.post(
      'Profiler.takePreciseCoverage',
    )) as Profiler.TakePreciseCoverageReturnType
    const blocks: string[] = []
    for (const { url, functions } of result) {
      if (!url.includes(this.#folder)) continue
      for (const { ranges } of functions) {
        for (const { startOffset, endOffset, count } of ranges) {
          if (count > 0) blocks.push(`${url}:${startOffset}-${endOffset}`)
        }
      }
    }
    return blocks
  }
}
