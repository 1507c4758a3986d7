/** A real pino logger whose lines a test reads. */
import pino from 'pino'
import type { AccessLogOptions } from '../../../src/index.ts'
import { until } from '../../client/http/rig.ts'

export type LoggedLine = Readonly<Record<string, unknown>>

export class LogLines {
  readonly raw: string[] = []
  readonly logger: pino.Logger

  constructor(options: pino.LoggerOptions = {}) {
    this.logger = pino({ base: null, ...options }, { write: (line: string) => void this.raw.push(line) })
  }

  get all(): readonly LoggedLine[] {
    return this.raw.map((line) => JSON.parse(line) as LoggedLine)
  }

  side(side: 'client' | 'server'): readonly LoggedLine[] {
    return this.all.filter((line) => line['inmesh.side'] === side)
  }

  /** Waits until there are `count` lines of a side, and returns them. */
  async of(side: 'client' | 'server', count: number): Promise<readonly LoggedLine[]> {
    await until(() => this.side(side).length >= count)
    return this.side(side)
  }
}

/** The option of a member that logs all its calls. */
export function everything(lines: LogLines, more: Partial<AccessLogOptions> = {}) {
  return { accessLog: { log: lines.logger, sample: 1, ...more } }
}
