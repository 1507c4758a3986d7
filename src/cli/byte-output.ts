/** Writes what a service answers: as bytes to a pipe, as harmless text to a terminal. */
import { type Output, printableLines } from './terminal.ts'

export class ByteOutput {
  readonly #output: Output
  readonly #decoder = new TextDecoder()
  #endsInLine = true

  constructor(output: Output) {
    this.#output = output
  }

  get isTerminal(): boolean {
    return this.#output.isTTY === true
  }

  /** Resolves when the reader takes more, or `signal` gives up. */
  async write(bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    if (this.isTerminal) await this.#write(this.#shown(this.#decoder.decode(bytes, { stream: true })), signal)
    else await this.#write(bytes, signal)
  }

  /** On a terminal the prompt begins a new line. */
  async end(signal: AbortSignal): Promise<void> {
    if (!this.isTerminal) return
    await this.#write(this.#shown(this.#decoder.decode()), signal)
    if (!this.#endsInLine) await this.#write('\n', signal)
  }

  #shown(text: string): string {
    if (text !== '') this.#endsInLine = text.endsWith('\n')
    return printableLines(text.replaceAll('\r\n', '\n'))
  }

  async #write(chunk: string | Uint8Array, signal: AbortSignal): Promise<void> {
    if (chunk.length === 0 || signal.aborted) return
    const output = this.#output
    if (output.write(chunk) !== false || output.on === undefined) return
    await new Promise<void>((resolve) => {
      const finish = (): void => {
        output.off?.('drain', finish)
        output.off?.('error', finish)
        signal.removeEventListener('abort', finish)
        resolve()
      }
      output.on?.('drain', finish)
      output.on?.('error', finish)
      signal.addEventListener('abort', finish)
    })
  }
}
