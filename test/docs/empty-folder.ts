/**
 * An empty folder of a newcomer, who pastes the blocks of a page: `sh run` runs to its end,
 * `sh stays` goes on in another terminal, `ts name.ts` is a file. A line `# → text` is expected.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { Block } from './page.ts'

const REPOSITORY = fileURLToPath(new URL('../../', import.meta.url))
const FILE_NAME = /^[\w-][\w./-]*\.(?:[cm]?[jt]s|ya?ml|json|proto)$/
/** Only a block that fails takes longer. */
const LONGEST_MS = 240_000
const TOLD = 4_000

export type BlockKind = 'file' | 'run' | 'stays'

/** `undefined`: it is only read. */
export function kindOf({ language, tag }: Block): BlockKind | undefined {
  if (language === 'sh' && (tag === 'run' || tag === 'stays')) return tag
  return FILE_NAME.test(tag) ? 'file' : undefined
}

/** What the block says that it prints; `…` is any text. */
export function expectedOf({ text }: Block): readonly string[] {
  return [...text.matchAll(/^# → (.+)$/gm)].map(([, line]) => line!.trim())
}

/** The package as npm would publish it. */
export function packed(into: string): string {
  const args = ['pack', '--ignore-scripts', '--json', '--pack-destination', into]
  const [{ filename }] = JSON.parse(execFileSync('npm', args, { cwd: REPOSITORY, encoding: 'utf8' }))
  return join(into, filename)
}

export class EmptyFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'inmesh-newcomer-'))
  readonly #home = mkdtempSync(join(tmpdir(), 'inmesh-newcomer-home-'))
  readonly #shells: ChildProcess[] = []
  readonly #tarball: string
  readonly #ports: Readonly<Record<string, number>>

  /** `ports`: those of the page, and the free ones that stand for them here. */
  constructor(tarball: string, ports: Readonly<Record<string, number>>) {
    this.#tarball = tarball
    this.#ports = ports
  }

  /** @throws Error with the line of the block and everything it printed */
  async paste(block: Block): Promise<void> {
    switch (kindOf(block)) {
      case 'file':
        return this.#write(block)
      case 'run':
        return await this.#shell(block, 'end')
      case 'stays':
        return await this.#shell(block, 'output')
      default:
        throw new Error(`line ${block.line}: this block is not one that runs`)
    }
  }

  #write({ tag, text }: Block): void {
    const place = join(this.path, tag)
    mkdirSync(dirname(place), { recursive: true })
    writeFileSync(place, this.#here(text))
  }

  /** What the page says, as it is here: the packed tarball, and ports that are free. */
  #here(text: string): string {
    let here = text.replace(/^(npm (?:install|i)\b.*?)(?<![\w@/-])inmesh\b/gm, `$1${this.#tarball}`)
    for (const [port, free] of Object.entries(this.#ports)) {
      here = here.replace(new RegExp(`\\b${port}\\b`, 'g'), String(free))
    }
    // Its default port is 7400.
    const registry = this.#ports['7400']
    return registry === undefined ? here : here.replace(/\binmesh (?:registry|dev)\b/g, `$& --port ${registry}`)
  }

  async #shell(block: Block, until: 'end' | 'output'): Promise<void> {
    const child = spawn('bash', ['-euo', 'pipefail', '-c', this.#here(block.text)], {
      cwd: this.path,
      env: this.#environment(),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.#shells.push(child)
    let output = ''
    let ended = false
    const expected = expectedOf(block).map(patternOf)
    const missing = (): RegExp | undefined => expected.find((pattern) => !pattern.test(output))
    const { promise, resolve } = Promise.withResolvers<void>()
    const add = (chunk: Buffer): void => {
      output += chunk
      if (until === 'output' && missing() === undefined) resolve()
    }
    child.stdout.on('data', add)
    child.stderr.on('data', add)
    child.once('close', () => {
      ended = true
      resolve()
    })
    const late = new AbortController()
    await Promise.race([promise, sleep(LONGEST_MS, undefined, { signal: late.signal }).catch(() => {})])
    late.abort()
    const said = `line ${block.line}:\n${block.text}\nprinted:\n${output.slice(-TOLD)}`
    if (until === 'output' && ended) throw new Error(`it has ended (${child.exitCode}) and was to stay, ${said}`)
    if (until === 'end' && child.exitCode !== 0) throw new Error(`exit code ${child.exitCode}, ${said}`)
    const lacking = missing()
    if (lacking !== undefined) throw new Error(`${lacking} was not printed, ${said}`)
  }

  /** That of the test, without what leads to its mesh and its home; npm finds its settings. */
  #environment(): NodeJS.ProcessEnv {
    const { NPM_CONFIG_USERCONFIG, npm_config_userconfig, npm_config_cache, ...others } = process.env
    const foreign = /^(?:INMESH_|NODE_OPTIONS$|NODE_ENV$|VITEST|npm_(?:package|lifecycle)_)/
    const kept = Object.entries(others).filter(([name]) => !foreign.test(name))
    const registry = this.#ports['7400']
    return {
      ...Object.fromEntries(kept),
      PATH: [dirname(process.execPath), process.env.PATH].join(delimiter),
      HOME: this.#home,
      NO_COLOR: '1',
      npm_config_userconfig: npm_config_userconfig ?? NPM_CONFIG_USERCONFIG ?? join(homedir(), '.npmrc'),
      npm_config_cache: npm_config_cache ?? join(homedir(), '.npm'),
      npm_config_prefer_offline: 'true',
      npm_config_audit: 'false',
      npm_config_update_notifier: 'false',
      ...(registry !== undefined && { INMESH_REGISTRY: `https://127.0.0.1:${registry}` }),
    }
  }

  /** Ends every terminal as Ctrl-C does, the last one first. */
  async close(): Promise<void> {
    for (const child of this.#shells.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const closed = once(child, 'close')
      signal(child, 'SIGINT')
      const killed = setTimeout(() => signal(child, 'SIGKILL'), 20_000)
      await closed
      clearTimeout(killed)
    }
    for (const path of [this.path, this.#home]) rmSync(path, { recursive: true, force: true })
  }
}

/** To everything that the shell has started. */
function signal({ pid }: ChildProcess, name: NodeJS.Signals): void {
  try {
    process.kill(-pid!, name)
  } catch {
    // It has just ended.
  }
}

function patternOf(text: string): RegExp {
  const parts = text.split('…').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return new RegExp(parts.join('.*'))
}
