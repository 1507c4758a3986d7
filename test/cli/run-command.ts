/** Runs one command inside the test's process, with separate streams and variables. */
import { Readable } from 'node:stream'
import { runCli } from '../../src/cli/program.ts'

export interface Run {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Around {
  readonly stdin?: string
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly terminal?: boolean
  /** Keeps what it says while it waits, which a busy machine adds to any command. */
  readonly patience?: 'kept'
}

const WAITING = /^waiting for .*\n/gm

export async function run(args: readonly string[], around: Around = {}): Promise<Run> {
  let [stdout, stderr] = ['', '']
  const isTTY = around.terminal === true
  const code = await runCli(args, {
    stdout: {
      isTTY,
      write(text: string | Uint8Array) {
        stdout += typeof text === 'string' ? text : Buffer.from(text).toString()
      },
    },
    stderr: {
      isTTY,
      write(text: string | Uint8Array) {
        stderr += text
      },
    },
    stdin: Readable.from(around.stdin === undefined ? [] : [Buffer.from(around.stdin)]),
    env: around.env ?? {},
  })
  return { code, stdout, stderr: around.patience === 'kept' ? stderr : stderr.replace(WAITING, '') }
}
