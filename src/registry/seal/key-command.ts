/** Runs the command that prints a seal key, without a shell, and bounded in time and output. */
import { type ChildProcess, spawn } from 'node:child_process'

/** For a key service across the network. */
export const COMMAND_MS = 10_000
export const MOST_BYTES = 4_096

/** Outside of quotes these mean something to a shell only. */
const SHELL_ONLY = /[|&;<>()$`*?[\]{}~#!\n]/

/**
 * The words of a command. Quotes hold a word together, a backslash takes the next character
 * literally.
 *
 * @throws Error that says what is wrong, without the text
 */
export function wordsOf(text: string): string[] {
  const words: string[] = []
  let word: string | undefined
  let quote = ''
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!
    if (quote === '' && (char === ' ' || char === '\t')) {
      if (word !== undefined) words.push(word)
      word = undefined
    } else if (quote === '' && (char === '"' || char === "'")) {
      quote = char
      word ??= ''
    } else if (char === quote) quote = ''
    else if (char === '\\' && quote !== "'") {
      if (++i === text.length) throw new Error('the command ends with a backslash')
      word = (word ?? '') + text[i]
    } else {
      if (quote === '' && SHELL_ONLY.test(char)) {
        throw new Error(`the command runs without a shell, so quote ${JSON.stringify(char)}, or put it into a script`)
      }
      word = (word ?? '') + char
    }
  }
  if (quote !== '') throw new Error(`the command has a ${quote} without its end`)
  if (word !== undefined) words.push(word)
  if (words.length === 0 || words[0] === '') throw new Error('the command is empty')
  return words
}

/**
 * What the command prints on stdout. It gets our environment, no stdin, and its stderr is dropped:
 * both outputs may hold the key.
 *
 * @throws Error that names the program only, because arguments may be secret
 */
export async function outputOf(text: string, mostMs = COMMAND_MS): Promise<Buffer> {
  const [program, ...args] = wordsOf(text) as [string, ...string[]]
  // A group of processes, so that what the command started ends with it.
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'], detached: true, windowsHide: true })
  return await new Promise<Buffer>((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    let done = false
    const end = (mistake?: string): void => {
      if (done) return
      done = true
      clearTimeout(timer)
      if (mistake === undefined) {
        resolve(Buffer.concat(chunks))
        return
      }
      kill(child)
      child.stdout.destroy()
      reject(new Error(`the command '${program}' ${mistake}`))
    }
    const timer = setTimeout(() => end(`did not end within ${mostMs / 1_000} s`), mostMs)
    child.stdout.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      if (bytes > MOST_BYTES) end(`printed more than ${MOST_BYTES} bytes`)
    })
    child.stdout.on('error', () => {})
    child.on('error', (error: NodeJS.ErrnoException) => end(`cannot be run: ${error.code ?? 'unknown error'}`))
    child.on('close', (code, signal) => {
      const how = code === null ? `was ended by ${signal}` : `ended with exit code ${code}`
      end(code === 0 ? undefined : `${how}; run it by hand to see why`)
    })
  })
}

function kill(child: ChildProcess): void {
  if (child.pid === undefined) return
  try {
    if (process.platform === 'win32') child.kill('SIGKILL')
    else process.kill(-child.pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}
