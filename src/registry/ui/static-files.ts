/** The files of the page, as `npm run build:ui` made them: read once, and served from memory. */
import { readdir, readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

/** The same place from `src/` and from `dist/`. */
function builtFiles(): string | undefined {
  // A bundle of CommonJS has no URL, and no files of the page beside it.
  return URL.canParse('../../../dist/ui/', import.meta.url)
    ? fileURLToPath(new URL('../../../dist/ui/', import.meta.url))
    : undefined
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
}

export interface StaticFile {
  readonly contentType: string
  readonly bytes: Buffer
  readonly gzipped: Buffer
  /** Its name holds the hash of its content. */
  readonly isHashed: boolean
}

const compress = promisify(gzip)

export class StaticFiles {
  readonly #directory: string | undefined
  #files: Promise<ReadonlyMap<string, StaticFile>> | undefined

  constructor(directory: string | undefined = builtFiles()) {
    this.#directory = directory
  }

  /** The file of a path below the page. Only names that were built exist, so none leads outside. */
  async find(path: string): Promise<StaticFile | undefined> {
    this.#files ??= this.#read()
    const files = await this.#files
    // A page that was not built yet may be built later.
    if (files.size === 0) this.#files = undefined
    return files.get(path)
  }

  async #read(): Promise<ReadonlyMap<string, StaticFile>> {
    const files = new Map<string, StaticFile>()
    const directory = this.#directory
    if (directory === undefined) return files
    const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])
    for (const entry of entries) {
      const contentType = TYPES[extname(entry.name)]
      if (!entry.isFile() || contentType === undefined) continue
      const path = join(entry.parentPath, entry.name)
      const name = path.slice(directory.length).replaceAll('\\', '/').replace(/^\//, '')
      const bytes = await readFile(path)
      const isHashed = name.startsWith('assets/')
      files.set(name, { contentType, bytes, gzipped: await compress(bytes), isHashed })
    }
    return files
  }
}
