/**
 * The directory in which processes of one user on one machine find each other's Unix sockets. Only
 * names travel between them, never paths: each process looks in its own directory.
 */
import { createHash, randomBytes } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, type Stats, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { LocalAddress } from '../core/endpoint.ts'

/** Of `sun_path` on Linux, without the terminating zero. */
const MAX_PATH_BYTES = 107
const OTHERS = 0o077
const SOCKET_NAME = /^[a-z0-9]{8,40}$/
/** Anew with each start of the machine, and the same in all its containers. */
const BOOT_ID = '/proc/sys/kernel/random/boot_id'
/** Sockets of processes that have died, looked at when a server starts. */
const MOST_LOOKED_AT = 256

export class LocalDirectory {
  /** The same only for processes that see this directory on this machine. */
  readonly machine: string
  readonly #path: string
  readonly #device: number
  readonly #inode: number
  readonly #user: number

  private constructor(path: string, { dev, ino }: Stats, user: number, boot: string) {
    this.#path = path
    this.#device = dev
    this.#inode = ino
    this.#user = user
    this.machine = createHash('sha256').update(`${boot.trim()} ${dev} ${ino} ${user}`).digest('base64url').slice(0, 22)
  }

  /**
   * Makes it if there is none. `undefined`: the system has no users or no Unix sockets, or the
   * directory is not ours alone. `within`: @defaultValue the user's runtime directory, or else the
   * system's for temporary files
   */
  static open(within?: string): LocalDirectory | undefined {
    const user = process.getuid?.()
    if (user === undefined || process.platform === 'win32') return undefined
    try {
      const boot = readFileSync(BOOT_ID, 'utf8')
      const runtime = `/run/user/${user}`
      const path =
        within === undefined && isOurs(runtime, user)
          ? join(runtime, 'inmesh')
          : join(within ?? tmpdir(), `inmesh-${user}`)
      makeDirectory(path)
      const stats = lstatSync(path)
      if (!stats.isDirectory() || stats.uid !== user || (stats.mode & OTHERS) !== 0) return undefined
      return new LocalDirectory(path, stats, user, boot)
    } catch {
      return undefined
    }
  }

  /** A new socket; `undefined`: its path would be too long, or the directory is another one. */
  newSocket(): { readonly path: string; readonly address: LocalAddress } | undefined {
    const socket = randomBytes(8).toString('hex')
    const path = this.#pathOf(socket)
    if (path === undefined || !this.#isIntact) return undefined
    return { path, address: Object.freeze({ machine: this.machine, socket }) }
  }

  /** The path of a peer's socket; `undefined`: it is on another machine, or not of our user. */
  find({ machine, socket }: LocalAddress): string | undefined {
    if (machine !== this.machine || !SOCKET_NAME.test(socket) || !this.#isIntact) return undefined
    const path = this.#pathOf(socket)
    try {
      // Not of what a link leads to.
      const stats = path === undefined ? undefined : lstatSync(path)
      return stats?.isSocket() === true && stats.uid === this.#user ? path : undefined
    } catch {
      return undefined
    }
  }

  /** Removes the sockets on which no process listens any more. */
  async sweep(): Promise<void> {
    let names: string[]
    try {
      names = this.#isIntact ? readdirSync(this.#path) : []
    } catch {
      return
    }
    const sockets = names.flatMap((name) => (name.endsWith(SUFFIX) ? [name.slice(0, -SUFFIX.length)] : []))
    for (const socket of sockets.slice(0, MOST_LOOKED_AT)) {
      const path = this.find({ machine: this.machine, socket })
      if (path !== undefined && (await isAbandoned(path))) removeFile(path)
    }
  }

  #pathOf(socket: string): string | undefined {
    const path = join(this.#path, `${socket}${SUFFIX}`)
    return Buffer.byteLength(path) <= MAX_PATH_BYTES ? path : undefined
  }

  /** Still the directory that it was, and still ours alone. */
  get #isIntact(): boolean {
    try {
      const { dev, ino, uid, mode } = lstatSync(this.#path)
      return dev === this.#device && ino === this.#inode && uid === this.#user && (mode & OTHERS) === 0
    } catch {
      return false
    }
  }
}

const SUFFIX = '.sock'

/** Not with its parents: Node 24 never returns from that below `/proc`. */
function makeDirectory(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
}

function isOurs(path: string, user: number): boolean {
  try {
    const stats = lstatSync(path)
    return stats.isDirectory() && stats.uid === user && (stats.mode & OTHERS) === 0
  } catch {
    return false
  }
}

/** Only the kernel's refusal says so: a process that is busy or stopped still has its socket. */
function isAbandoned(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.unref()
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
}

function removeFile(path: string): void {
  try {
    unlinkSync(path)
  } catch {
    // Another process was faster.
  }
}
