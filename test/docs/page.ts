/** The blocks of a page that are commands and files. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Block {
  readonly language: string
  /** The second word behind the fence, such as `etcd` in `sh etcd`. */
  readonly tag: string
  /** Of the page. */
  readonly line: number
  readonly text: string
}

export class Page {
  readonly text: string
  readonly blocks: readonly Block[]

  constructor(name: string) {
    this.text = readFileSync(fileURLToPath(new URL(`../../docs/${name}`, import.meta.url)), 'utf8')
    this.blocks = blocksOf(this.text)
  }

  /** Shell blocks that are run, in their order. */
  commands(tags: readonly string[]): readonly Block[] {
    return this.blocks
      .filter((block) => block.language === 'sh' && tags.includes(block.tag) && placeOf(block) === undefined)
      .filter(({ text }) => !text.startsWith('# not run by the test'))
  }

  /** By path: blocks whose first line names the file that they are. */
  get files(): ReadonlyMap<string, string> {
    return new Map(
      this.blocks.flatMap((block) => {
        const place = placeOf(block)
        return place === undefined ? [] : [[place, block.text] as const]
      }),
    )
  }
}

function placeOf({ text }: Block): string | undefined {
  return /^# (\/\S+|Containerfile)\n/.exec(text)?.[1]
}

function blocksOf(text: string): Block[] {
  const blocks: Block[] = []
  let open: { language: string; tag: string; line: number; lines: string[] } | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^```(\w*) ?(.*)$/.exec(line)
    if (fence === null) open?.lines.push(line)
    else if (open === undefined) open = { language: fence[1]!, tag: fence[2]!, line: index + 1, lines: [] }
    else {
      blocks.push({ ...open, text: `${open.lines.join('\n')}\n` })
      open = undefined
    }
  }
  return blocks
}
