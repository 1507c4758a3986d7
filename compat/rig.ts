/** What cells share: a copy of their folder with its packages and the packed inmesh, and commands in it. */
import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

/** One line of the matrix. It fails by throwing. */
export interface Cell {
  readonly name: string
  run(): Promise<unknown>
}

export interface Part {
  readonly cells: readonly Cell[]
}

const LONGEST_MS = 300_000

export class Project {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  /** Runs `command` to its end, and returns what it printed. @throws Error with all of it */
  run(command: string, args: readonly string[], environment: Record<string, string> = {}): Promise<string> {
    const own = { PATH: [dirname(process.execPath), process.env.PATH].join(delimiter), NO_COLOR: '1', ...environment }
    const options = { cwd: this.path, env: { ...outer(), ...own }, timeout: LONGEST_MS, maxBuffer: 1 << 26 }
    return new Promise((resolve, reject) => {
      execFile(command, args, options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout)
        else reject(new Error(`${command} ${args.join(' ')}\n${stdout}\n${stderr}`.slice(-4_000)))
      })
    })
  }

  /** Runs a program of this folder by the Node of the matrix. */
  node(args: readonly string[], environment: Record<string, string> = {}): Promise<string> {
    return this.run(process.execPath, args, environment)
  }
}

/** A copy of `compat/<name>`, with what its lock file names and with `tarball`. */
export async function install(name: string, tarball: string): Promise<Project> {
  const path = mkdtempSync(join(tmpdir(), `inmesh-${name}-`))
  const withoutModules = (file: string): boolean => !file.includes('node_modules')
  cpSync(join(import.meta.dirname, name), path, { recursive: true, filter: withoutModules })
  const project = new Project(path)
  await project.run('npm', ['ci', '--no-audit', '--no-fund', '--prefer-offline'])
  await project.run('npm', [
    'install',
    '--no-save',
    '--no-package-lock',
    '--no-audit',
    '--no-fund',
    '--prefer-offline',
    tarball,
  ])
  return project
}

/** Without what npm and a mesh around would set. */
function outer(): NodeJS.ProcessEnv {
  const foreign = /^(?:INMESH_|NODE_OPTIONS$|NODE_ENV$|npm_(?:package|lifecycle)_)/
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)))
}
