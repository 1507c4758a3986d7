/**
 * Runs units of a machine as `systemctl` would: `start`, `stop`, `restart`, `enable --now`,
 * `daemon-reload`. The first argument is the root of the machine.
 */
import { spawn, spawnSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const [root = '', verb, ...rest] = process.argv.slice(2)
const units = join(root, 'etc/systemd/system')
const names = rest
  .filter((word) => !word.startsWith('-'))
  .map((name) => (name.includes('.') ? name : `${name}.service`))

/** The settings of a unit, also of an instance of a template; a repeated one is the last. */
function settings(name: string): ReadonlyMap<string, string> {
  const instance = /@(.+)\.service$/.exec(name)?.[1]
  const file = instance === undefined ? name : name.replace(`@${instance}`, '@')
  const lines = readFileSync(join(units, file), 'utf8')
    .replaceAll('%i', instance ?? '%i')
    .split('\n')
  return new Map(
    lines.flatMap((line) => {
      const found = /^(\w+)=(.*)$/.exec(line)
      return found === null ? [] : [[found[1]!, found[2]!] as const]
    }),
  )
}

/** `$NAME` is split at spaces, as systemd does it. */
function commandOf(unit: ReadonlyMap<string, string>): { command: string[]; env: Record<string, string> } {
  const file = unit.get('EnvironmentFile')
  const lines = file === undefined ? [] : readFileSync(file, 'utf8').split('\n')
  const env = Object.fromEntries(
    lines
      .filter((line) => line.includes('='))
      .map((line) => {
        const at = line.indexOf('=')
        return [line.slice(0, at), line.slice(at + 1)]
      }),
  )
  const words = unit.get('ExecStart')!.split(' ')
  const command = words.flatMap((word) => (/^\$\w+$/.test(word) ? (env[word.slice(1)] ?? '').split(' ') : [word]))
  return { command: command.filter((word) => word !== ''), env }
}

const pidFile = (name: string): string => join(root, `run-${name}`)

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

async function start(name: string): Promise<void> {
  if (name.endsWith('.timer')) {
    if (!existsSync(join(units, name.replace(/timer$/, 'service')))) throw new Error(`${name} has no service`)
    return
  }
  const unit = settings(name)
  const { command, env } = commandOf(unit)
  const [program, ...args] = command as [string, ...string[]]
  const state = unit.get('StateDirectory')
  if (state !== undefined) mkdirSync(join(root, 'var/lib', state), { recursive: true, mode: 0o700 })
  const around = { env: { ...process.env, ...env } }
  if (unit.get('Type') === 'oneshot') {
    const { status } = spawnSync(program, args, { ...around, stdio: 'inherit' })
    if (status !== 0) throw new Error(`${name} ended with ${status}`)
    return
  }
  const output = join(root, `log-${name}`)
  writeFileSync(output, '')
  const log = openSync(output, 'a')
  const child = spawn(program, args, { ...around, detached: true, stdio: ['ignore', log, log] })
  writeFileSync(pidFile(name), String(child.pid))
  appendFileSync(join(root, 'run'), `${child.pid}\n`)
  child.unref()
  // It waits for the others of its cluster.
  if (unit.get('Type') === 'notify') return
  // A registry prints a line when it is ready; systemd would not wait for it.
  for (let i = 0; !/ready/.test(readFileSync(output, 'utf8')); i++) {
    if (child.exitCode !== null || i > 1_200) throw new Error(`${name}: ${readFileSync(output, 'utf8')}`)
    await sleep(100)
  }
}

async function stop(name: string): Promise<void> {
  const file = pidFile(name)
  if (!existsSync(file)) return
  const pid = Number(readFileSync(file, 'utf8'))
  if (runs(pid)) process.kill(pid, 'SIGTERM')
  for (let i = 0; runs(pid); i++) {
    if (i > 1_200) throw new Error(`${name} does not stop`)
    await sleep(100)
  }
  rmSync(file)
}

switch (verb) {
  case 'daemon-reload':
    for (const name of readdirSync(units)) settings(name)
    break
  case 'enable':
  case 'start':
    for (const name of names) await start(name)
    break
  case 'stop':
    for (const name of names) await stop(name)
    break
  case 'restart':
    for (const name of names) {
      await stop(name)
      await start(name)
    }
    break
  default:
    throw new Error(`unknown verb ${verb}`)
}
