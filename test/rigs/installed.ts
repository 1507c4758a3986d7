/** Programs of others that tests run where they are installed. */
import { execFile, execFileSync } from 'node:child_process'
import { promisify } from 'node:util'

/** Why tests that need `tool` cannot run here. */
export function missing(tool: string, ...version: string[]): string | undefined {
  try {
    execFileSync(tool, version, { stdio: 'ignore', timeout: 20_000 })
    return undefined
  } catch {
    return `${tool} is not installed`
  }
}

/** The title of tests that need a tool; it says so where they are skipped. */
export function titleWith(reason: string | undefined, title: string): string {
  if (reason !== undefined) console.warn(`${title} (SKIPPED: ${reason})`)
  return reason === undefined ? title : `${title} (SKIPPED: ${reason})`
}

/** Runs it to its end, and resolves with what it printed. */
export async function run(tool: string, ...given: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(tool, given, { timeout: 30_000, maxBuffer: 64 * 1024 * 1024 })
  return stdout
}
