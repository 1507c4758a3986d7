/** `inmesh run`: starts a program in the mesh that knows nothing of it. */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Command } from 'commander'
import { describeIssue, type Issue, OptionsError } from '../options/fields.ts'
import { withExample } from './examples.ts'
import { EXIT, Failure, invalidUsage } from './failure.ts'
import type { CliContext } from './terminal.ts'

/** Each flag is a variable of the program. */
const FLAGS = {
  service: 'INMESH_SERVICE',
  registry: 'INMESH_REGISTRY',
  joinTokenFile: 'INMESH_JOIN_TOKEN_FILE',
  mode: 'INMESH_AUTO_MODE',
  services: 'INMESH_AUTO_SERVICES',
  ports: 'INMESH_AUTO_PORTS',
  advertise: 'INMESH_AUTO_ADVERTISE',
} as const

type RunFlags = { readonly [K in keyof typeof FLAGS]?: string } & {
  readonly required?: boolean
  readonly quiet?: boolean
}

/** What the program gets, too. A terminal sends Ctrl-C to both by itself. */
const PASSED = ['SIGTERM', 'SIGHUP', 'SIGUSR2', 'SIGINT'] as const

export function addRunCommand(program: Command, { env, stdin }: CliContext): void {
  const command = program
    .command('run <command> [args...]')
    .description('Runs a program of Node in the mesh, unchanged, and tells on stderr what is meshed.')
    .option('--service <name>', 'name of the service (INMESH_SERVICE)')
    .option('--registry <addresses>', 'addresses of the registry (INMESH_REGISTRY)')
    .option('--join-token-file <path>', 'file with the join token (INMESH_JOIN_TOKEN_FILE)')
    .option('--mode <mode>', 'permissive, which also takes plaintext, or strict')
    .option('--services <names>', "hosts that are services besides *.mesh: names, or 'all' that the registry knows")
    .option('--ports <numbers>', 'ports that are the service; otherwise the first one listened on')
    .option('--advertise <address>', 'address at which others reach this machine')
    .option('--required', 'listen only once the mesh is joined, and fail if it cannot be')
    .option('--quiet', 'tell only what went wrong')
  withExample(command, 'inmesh run --service checkout -- node app.js')
  command.action(async (name: string, args: readonly string[], flags: RunFlags) => {
    const given = environment(flags, env)
    await assertValid(flags, given)
    const code = await runProgram(name, args, given, stdin.isTTY === true)
    if (code !== EXIT.ok) process.exit(code)
  })
}

function environment(flags: RunFlags, env: Readonly<Record<string, string | undefined>>): NodeJS.ProcessEnv {
  const own: Record<string, string | undefined> = {
    ...env,
    INMESH_AUTO_REPORT: flags.quiet === true ? 'false' : 'true',
  }
  for (const [flag, variable] of Object.entries(FLAGS)) {
    const value = flags[flag as keyof typeof FLAGS]
    if (value !== undefined) own[variable] = value
  }
  if (flags.required === true) own.INMESH_AUTO_REQUIRED = 'true'
  own.NODE_OPTIONS = [env.NODE_OPTIONS, `--import=${autoModule()}`].filter(Boolean).join(' ')
  return own
}

/** @throws Failure naming each wrong flag, or the variable that stands for one */
async function assertValid(flags: RunFlags, env: NodeJS.ProcessEnv): Promise<void> {
  const { readSettings } = await import('../auto/settings.ts')
  const { resolveMeshOptions } = await import('../mesh/resolve-options.ts')
  const { INMESH_SERVICE, INMESH_REGISTRY, INMESH_JOIN_TOKEN_FILE } = env
  const joining = { INMESH_SERVICE, INMESH_REGISTRY, INMESH_JOIN_TOKEN_FILE }
  const checks = [() => readSettings(env), () => resolveMeshOptions({}, joining)]
  const messages = checks.flatMap((check) => {
    try {
      check()
      return []
    } catch (error) {
      if (!(error instanceof OptionsError)) throw error
      return error.issues.map((issue) => describe(issue, flags, env))
    }
  })
  if (messages.length > 0) throw invalidUsage(messages.join('; '))
}

/** `issue`: of a variable, or of the option of `joinMesh` that has the name of its flag. */
function describe({ path: [name = '', ...rest], message }: Issue, flags: RunFlags, env: NodeJS.ProcessEnv): string {
  const [flag, variable] = Object.entries(FLAGS).find((names) => names.includes(name as never)) ?? ['', String(name)]
  if (flag === 'service' && !env[variable]?.trim()) return `--service is missing; or set ${variable}`
  const isFlag = flags[flag as keyof typeof FLAGS] !== undefined
  const shown = isFlag ? `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}` : variable
  return describeIssue({ path: [shown, ...rest], message: message.replace(/ \(from INMESH_\w+\)$/, '') })
}

/** The program's copy of inmesh, if it has one: its `currentCall()` then knows the calls. */
function autoModule(): string {
  try {
    return pathToFileURL(createRequire(join(process.cwd(), 'package.json')).resolve('inmesh/auto')).href
  } catch {
    const isSource = import.meta.url.endsWith('.ts')
    return new URL(`../auto/index.${isSource ? 'ts' : 'js'}`, import.meta.url).href
  }
}

/** Resolves with the exit code of the program; ends by the signal that ended it. */
function runProgram(
  name: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  isTerminal: boolean,
): Promise<number> {
  const child = spawn(name, args, { env, stdio: 'inherit' })
  const pass = (signal: NodeJS.Signals): void => {
    if (signal !== 'SIGINT' || !isTerminal) child.kill(signal)
  }
  for (const signal of PASSED) process.on(signal, pass)
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Failure(EXIT.invalid, 'failed', `cannot run ${name}: ${error.message}`)))
    child.once('exit', (code, signal) => {
      for (const each of PASSED) process.off(each, pass)
      if (signal === null) resolve(code ?? EXIT.ok)
      else {
        process.kill(process.pid, signal)
        // It may be one that does not end a process.
        setTimeout(() => resolve(128 + constants.signals[signal]), 100)
      }
    })
  })
}
