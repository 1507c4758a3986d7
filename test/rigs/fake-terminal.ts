/** A terminal that keeps what is written and shows the last picture, with keys and sizes. */
import { EventEmitter } from 'node:events'
import type { CliContext } from '../../src/cli/terminal.ts'

// biome-ignore lint/suspicious/noControlCharactersInRegex: what terminals obey.
const SEQUENCES = /\u001b\[[?0-9;]*[A-Za-z]/g

export class FakeTerminal {
  readonly context: CliContext
  text = ''
  errors = ''
  isRaw = false
  readonly #output: EventEmitter & { columns: number; rows: number; isTTY: boolean; write(text: string): void }
  readonly #input: EventEmitter

  constructor(env: CliContext['env'], size = { columns: 160, rows: 40 }) {
    const write = (text: string): void => {
      this.text += text
    }
    this.#output = Object.assign(new EventEmitter(), { ...size, isTTY: true, write })
    this.#input = Object.assign(new EventEmitter(), {
      isTTY: true,
      setRawMode: (isRaw: boolean) => {
        this.isRaw = isRaw
      },
      resume: () => {},
      pause: () => {},
      async *[Symbol.asyncIterator]() {},
    })
    this.context = {
      stdout: this.#output,
      stderr: { write: (text) => (this.errors += text), isTTY: true },
      stdin: this.#input as unknown as CliContext['stdin'],
      env: { ...env, NO_COLOR: '1' },
    }
  }

  /** Of the last picture. */
  get lines(): string[] {
    const last = this.text.slice(this.text.lastIndexOf('\u001b[H'))
    return last.replace(SEQUENCES, '').split('\r\n')
  }

  get written(): number {
    return this.text.length
  }

  /** The cursor and the former screen are back, no key is taken raw, and no listener is left. */
  get isRestored(): boolean {
    const listeners = ['resize', 'error'].reduce((all, name) => all + this.#output.listenerCount(name), 0)
    const isLast = this.text.endsWith('\u001b[?25h\u001b[?1049l')
    return isLast && !this.isRaw && listeners === 0 && this.#input.listenerCount('data') === 0
  }

  press(keys: string): void {
    this.#input.emit('data', Buffer.from(keys))
  }

  resize(size: { columns: number; rows: number }): void {
    Object.assign(this.#output, size)
    this.#output.emit('resize')
  }

  breakPipe(): void {
    this.#output.emit('error', Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
  }
}
