import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT, Failure, formatLocated } from '../../src/cli/failure.ts'
import { parsePolicyFile } from '../../src/cli/policy-file.ts'
import { LARGEST_FILE_BYTES } from '../../src/cli/policy-file-failures.ts'
import { readPolicyFile } from '../../src/cli/read-policy-file.ts'

function mistakes(text: string): string[] {
  try {
    parsePolicyFile(text, 'policies.yaml')
  } catch (error) {
    expect(error).toBeInstanceOf(Failure)
    expect((error as Failure).exitCode).toBe(EXIT.invalid)
    return (error as Failure).issues.map(formatLocated)
  }
  return []
}

const MANY = `# all of the shop
service: mesh
timeout: 2s
---
service: inventory
retry:
  atempts: 3
  backoff: { base: 1s, max: 2x }
allow:
  - from: checkout
    paths:
      - /items/*
      - items
---
timeout: 1s
`

describe('parsePolicyFile', () => {
  it('reads several documents exactly as they are written', () => {
    const { documents } = parsePolicyFile('service: mesh\ntimeout: 2s\n---\nservice: a\nlimits: { rate: 5/s }\n', 'f')
    expect(documents).toEqual([
      { service: 'mesh', timeout: '2s' },
      { service: 'a', limits: { rate: '5/s' } },
    ])
  })

  it('reads JSON, also a list of documents', () => {
    expect(parsePolicyFile('{"service":"a","timeout":100}', 'f').documents).toEqual([{ service: 'a', timeout: 100 }])
    expect(parsePolicyFile('[{"service":"a"},{"service":"b"}]', 'f').documents).toHaveLength(2)
  })

  it('names file, line, column, path and the nearest valid name of every mistake', () => {
    expect(mistakes(MANY)).toEqual([
      "policies.yaml:7:3 retry.atempts: unknown key; did you mean 'attempts'?",
      expect.stringMatching(/^policies\.yaml:8:24 retry\.backoff\.max: expected a duration .* got "2x"$/),
      expect.stringMatching(/^policies\.yaml:13:9 allow\[0\]\.paths\[1\]: expected a path .* got "items"$/),
      expect.stringMatching(/^policies\.yaml:15:1 service: is missing; expected a service name/),
    ])
  })

  it('finds the place in a list of JSON documents', () => {
    expect(mistakes('[\n  {"service":"a"},\n  {"service":"b",\n   "tmeout":1}\n]')).toEqual([
      "policies.yaml:4:4 tmeout: unknown key; did you mean 'timeout'?",
    ])
  })

  it('counts lines that end as on Windows', () => {
    expect(mistakes('service: a\r\ntimeout: 1s\r\nretri: {}\r\n')[0]).toMatch(/^policies\.yaml:3:1 retri: /)
  })

  it('refuses a key that is given twice', () => {
    expect(mistakes('service: a\nretry:\n  attempts: 2\n  attempts: 3\n')).toEqual([
      'policies.yaml:4:3 retry.attempts: is given twice',
    ])
    expect(mistakes('{"service":"a","timeout":1,"timeout":2}')).toHaveLength(1)
  })

  it('refuses two documents for one service, and says where the first is', () => {
    expect(mistakes('service: a\n---\nservice: a\n')).toEqual([
      "policies.yaml:3:1 service: 'a' has a document in line 1 already",
    ])
  })

  it('reports broken syntax with its place', () => {
    expect(mistakes('service: a\nretry: { attempts: 3\n')[0]).toMatch(/^policies\.yaml:[23]:\d+ /)
    expect(mistakes('service: a\n\ttimeout: 1s\n')[0]).toMatch(/^policies\.yaml:2:\d+ /)
  })

  it.each(['', '   \n', '# nothing\n', '---\n---\n'])('refuses a file without a document: %j', (text) => {
    expect(mistakes(text)[0]).toContain('there is no document')
  })

  it('quotes no more than the beginning of what is no YAML', () => {
    const found = mistakes(`| ${'no yaml '.repeat(1_000)}\n`)
    expect(found.length).toBeGreaterThan(0)
    for (const mistake of found) expect(mistake.length).toBeLessThan(160)
  })

  it('passes over empty documents between others', () => {
    expect(
      parsePolicyFile('---\nservice: a\n---\n# only a remark\n---\nservice: b\n---\n', 'f').documents,
    ).toHaveLength(2)
  })

  it('takes aliases and refuses a bomb of them', () => {
    const shared = 'service: a\nretry: &r { attempts: 2 }\n---\nservice: b\n'
    expect(parsePolicyFile(shared, 'f').documents).toHaveLength(2)
    const levels = Array.from({ length: 9 }, (_, i) =>
      i === 0
        ? `a0: &a0 [x,x,x,x,x,x,x,x,x]`
        : `a${i}: &a${i} [${Array(9)
            .fill(`*a${i - 1}`)
            .join(',')}]`,
    )
    const startedAt = performance.now()
    expect(mistakes(`service: a\n${levels.join('\n')}\n`).length).toBeGreaterThan(0)
    // Expanded, it would be 10^9 values: this is about seconds against hours.
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })

  it('refuses an alias of itself and nesting without end', () => {
    expect(mistakes('service: a\nretry: &r { backoff: *r }\n').length).toBeGreaterThan(0)
    expect(mistakes(`service: a\nretry: ${'['.repeat(20_000)}`).length).toBeGreaterThan(0)
    const depth = [60, 3_000, 20_000]
    const shapes = depth.flatMap((n) => [
      `service: a\nretry: ${'{a: '.repeat(n)}1${'}'.repeat(n)}\n`,
      `{"service":"a","retry":${'{"a":'.repeat(n)}1${'}'.repeat(n)}}`,
      `${'['.repeat(n)}${']'.repeat(n)}`,
      `${'- '.repeat(n)}a`,
    ])
    for (const text of shapes) {
      const [first, ...rest] = mistakes(text)
      expect(first).toMatch(/^policies\.yaml:\d+:\d+ .*is nested deeper than 20 levels$/)
      expect(rest).toEqual([])
    }
  })

  it('lists mistakes in the order of lines', () => {
    const found = mistakes('retry: { attempts: 0 }\ntimout: 1s\nservice: A\n---\nservice: b\nhedge: 7\n')
    const lines = found.map((one) => Number(one.split(':')[1]))
    expect(lines).toEqual([1, 2, 3, 6])
  })

  it('pollutes no prototype', () => {
    expect(mistakes('service: a\n__proto__: { polluted: 1 }\n')[0]).toContain(
      'policies.yaml:2:1 __proto__: unknown key',
    )
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined()
  })

  it('refuses what is no document', () => {
    for (const text of ['42\n', 'null\n', '- 1\n', '!!set { a, b }\n', 'just text\n', '<html></html>\n']) {
      expect(mistakes(text).length, text).toBeGreaterThan(0)
    }
  })

  it('refuses a file that is too large', () => {
    expect(() => parsePolicyFile(`# ${'x'.repeat(LARGEST_FILE_BYTES)}`, 'f')).toThrow('larger than 1024 KiB')
  })

  it('gives a place inside the file for every mistake of any text', () => {
    const line = fc.constantFrom(
      'service: a',
      'retry:',
      '  atempts: 3',
      '- x',
      '---',
      '&a',
      '*a',
      '{',
      '? x',
      'allow: [{}]',
      '\t',
      '"',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(line, fc.string()), { maxLength: 12 }), (lines) => {
        const text = lines.join('\n')
        try {
          parsePolicyFile(text, 'f')
        } catch (error) {
          expect(error).toBeInstanceOf(Failure)
          for (const issue of (error as Failure).issues) {
            expect(issue.line).toBeGreaterThanOrEqual(1)
            expect(issue.line).toBeLessThanOrEqual(text.split('\n').length + 1)
            expect(issue.column).toBeGreaterThanOrEqual(1)
          }
        }
      }),
      { numRuns: 300 },
    )
  })
})

describe('readPolicyFile', () => {
  let directory: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'inmesh-cli-'))
  })
  afterAll(() => rm(directory, { recursive: true }))

  it('reads standard input for -', async () => {
    const { documents } = await readPolicyFile('-', Readable.from([Buffer.from('service: '), Buffer.from('a\n')]))
    expect(documents).toEqual([{ service: 'a' }])
  })

  it('stops reading at the bound', async () => {
    async function* endless() {
      for (;;) yield Buffer.alloc(65_536, 35)
    }
    await expect(readPolicyFile('-', endless())).rejects.toThrow('larger than 1024 KiB')
  })

  it('names a file that cannot be read', async () => {
    await expect(readPolicyFile(join(directory, 'none.yaml'), Readable.from([]))).rejects.toThrow(
      /cannot read .*none\.yaml/,
    )
    await expect(readPolicyFile(directory, Readable.from([]))).rejects.toThrow('it is a directory')
  })

  it('refuses bytes that are not UTF-8', async () => {
    const file = join(directory, 'latin1.yaml')
    await writeFile(file, Buffer.from([0x73, 0xff, 0xfe]))
    await expect(readPolicyFile(file, Readable.from([]))).rejects.toThrow('not UTF-8')
  })
})
