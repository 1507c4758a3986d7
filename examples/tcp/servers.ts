/**
 * Starts a Redis or a PostgreSQL of this machine for the examples, on a Unix socket in a temporary
 * directory.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const POSTGRES = '/usr/lib/postgresql'
/** How long a server may take to answer. */
const STARTS_WITHIN_MS = 60_000

export interface DatabaseServer {
  /** The Unix socket on which it listens. */
  readonly socket: string
  stop(): Promise<void>
}

/** Why there can be no Redis here; `undefined`: there can. */
export function noRedis(): string | undefined {
  return isThere('redis-server') ? undefined : 'redis-server is not installed'
}

/** The same for PostgreSQL. */
export function noPostgres(): string | undefined {
  if (postgresPrograms() === undefined) return `there is no PostgreSQL in ${POSTGRES}`
  return process.getuid?.() === 0 && postgresUser() === undefined ? 'it refuses to run as root' : undefined
}

export async function startRedis(): Promise<DatabaseServer> {
  const directory = mkdtempSync(join(tmpdir(), 'inmesh-redis-'))
  const socket = join(directory, 'redis.sock')
  const nothingKept = ['--save', '', '--appendonly', 'no', '--dir', directory]
  const server = spawn('redis-server', ['--port', '0', '--unixsocket', socket, ...nothingKept], { stdio: 'ignore' })
  return running(server, 'SIGTERM', { socket, directory, isReady: () => answers(socket) })
}

export async function startPostgres(): Promise<DatabaseServer> {
  const programs = postgresPrograms()!
  const directory = mkdtempSync(join(tmpdir(), 'inmesh-postgres-'))
  // PostgreSQL refuses to run as root.
  const user = process.getuid?.() === 0 ? postgresUser() : undefined
  if (user !== undefined) chownSync(directory, user.uid, user.gid)
  const data = join(directory, 'data')
  const made = ['-D', data, '--username=app', '--auth=trust', '--no-sync', '--encoding=UTF8', '--locale=C']
  execFileSync(join(programs, 'initdb'), made, { ...user, cwd: directory, stdio: 'ignore' })
  const settings = ['-c', 'listen_addresses=', '-c', `unix_socket_directories=${directory}`, '-c', 'fsync=off']
  const options = { ...user, cwd: directory, stdio: 'ignore' } as const
  const server = spawn(join(programs, 'postgres'), ['-D', data, ...settings], options)
  // SIGINT: it ends its sessions and stops.
  const isReady = async (): Promise<boolean> => saysReady(join(data, 'postmaster.pid'))
  return running(server, 'SIGINT', { socket: join(directory, '.s.PGSQL.5432'), directory, isReady })
}

interface Started {
  readonly socket: string
  readonly directory: string
  readonly isReady: () => Promise<boolean>
}

async function running(
  server: ChildProcess,
  signal: NodeJS.Signals,
  { socket, directory, isReady }: Started,
): Promise<DatabaseServer> {
  const exited = once(server, 'exit')
  const stop = async (): Promise<void> => {
    server.kill(signal)
    await exited
    rmSync(directory, { recursive: true, force: true })
  }
  const untilAt = Date.now() + STARTS_WITHIN_MS
  while (!(await isReady())) {
    if (server.exitCode !== null || Date.now() > untilAt) {
      await stop()
      throw new Error(`${server.spawnfile} did not start`)
    }
    await pause(20)
  }
  return { socket, stop }
}

/** Its socket answers before it takes connections; `pg_ctl` reads the same line. */
function saysReady(pidFile: string): boolean {
  return existsSync(pidFile) && /^ready *$/m.test(readFileSync(pidFile, 'utf8'))
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('close', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** The directory of the newest version. */
function postgresPrograms(): string | undefined {
  const versions = existsSync(POSTGRES) ? readdirSync(POSTGRES).toSorted((a, b) => Number(b) - Number(a)) : []
  return versions.map((version) => join(POSTGRES, version, 'bin')).find((bin) => existsSync(join(bin, 'postgres')))
}

function postgresUser(): { readonly uid: number; readonly gid: number } | undefined {
  try {
    const id = (flag: string): number =>
      Number(execFileSync('id', [flag, 'postgres'], { stdio: ['ignore', 'pipe', 'ignore'] }))
    return { uid: id('-u'), gid: id('-g') }
  } catch {
    return undefined
  }
}

function isThere(program: string): boolean {
  return (process.env.PATH ?? '').split(':').some((directory) => existsSync(join(directory, program)))
}
