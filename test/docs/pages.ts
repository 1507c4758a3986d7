/** All pages that users read, and their blocks with names for tests. */
import { globSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Block, Page } from './page.ts'

export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Decisions and the changelog say what was true when they were written. */
export const PAGES: readonly string[] = globSync(
  ['*.md', 'docs/*.md', 'docs/{policies,reference}/*.md', 'examples/*.md', 'examples/*/README.md'],
  { cwd: ROOT },
)
  .filter((path) => path !== 'CHANGELOG.md')
  .toSorted()

export interface PlacedBlock extends Block {
  /** From the root of the repository. */
  readonly page: string
  /** `docs/grpc.md:12`, for messages. */
  readonly place: string
  readonly before: PlacedBlock | undefined
}

/** Those that are checked, of some languages. */
export function blocksIn(...languages: readonly string[]): readonly PlacedBlock[] {
  return PAGES.flatMap((page) => {
    const placed: PlacedBlock[] = []
    for (const block of new Page(`../${page}`).blocks) {
      if (!languages.includes(block.language)) continue
      placed.push({ ...block, page, place: `${page}:${block.line}`, before: placed.at(-1) })
    }
    return placed
  }).filter(({ marks }) => !marks.has('not checked'))
}
