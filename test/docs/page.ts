/** The blocks of a page that are code, commands and files. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export interface Block {
  readonly language: string
  /** The second word behind the fence, such as `etcd` in `sh etcd`. */
  readonly tag: string
  /** Of the page. */
  readonly line: number
  readonly text: string
  /** What comments right above say: `given`, `runs`, `continues`, `not checked`. */
  readonly marks: ReadonlyMap<string, string>
}

export class Page {
  readonly text: string
  readonly blocks: readonly Block[]

  /** `name`: from `docs/`, such as `policies/retry.md` or `../README.md`. */
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
  let open: { language: string; tag: string; line: number; lines: string[]; indent: number } | undefined
  // Where the text between this block and the one before begins.
  let since = 0
  const lines = text.split('\n')
  for (const [index, line] of lines.entries()) {
    const fence = /^( *)```(\w*) ?(.*)$/.exec(line)
    if (fence === null) open?.lines.push(line.slice(0, open.indent).trim() === '' ? line.slice(open.indent) : line)
    else if (open === undefined) {
      open = { language: fence[2]!, tag: fence[3]!, line: index + 1, lines: [], indent: fence[1]!.length }
    } else {
      const { language, tag, line: begin } = open
      const marks = marksOf(lines.slice(since, begin - 1).join('\n'))
      blocks.push({ language, tag, line: begin, text: `${open.lines.join('\n')}\n`, marks })
      open = undefined
      since = index + 1
    }
  }
  return blocks
}

/** The comments at the end of the text before a block. */
function marksOf(before: string): ReadonlyMap<string, string> {
  const marks = new Map<string, string>()
  let rest = before.trimEnd()
  for (;;) {
    const begin = rest.endsWith('-->') ? rest.lastIndexOf('<!--') : -1
    if (begin < 0) return marks
    const mark = /^(given|runs|continues|not checked)\b:?\s*([\s\S]*)$/.exec(rest.slice(begin + 4, -3).trim())
    if (mark !== null) marks.set(mark[1]!, mark[2]!)
    rest = rest.slice(0, begin).trimEnd()
  }
}
