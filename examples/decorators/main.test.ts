import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { COMPILED_TEST_MS, compile, run } from '../../test/rigs/run-example.ts'

// Inside the package, because that is where 'inmesh' is found.
const OUTPUT = fileURLToPath(new URL('./dist/test', import.meta.url))

afterAll(() => rmSync(OUTPUT, { recursive: true, force: true }))

test.each([
  ['standard', 'false'],
  ['experimental', 'true'],
])(
  'compiled with %s decorators, the policies do the same',
  { timeout: COMPILED_TEST_MS },
  async (mode, experimentalDecorators) => {
    const options = ['--experimentalDecorators', experimentalDecorators, '--outDir', `${OUTPUT}/${mode}`]
    expect(await compile('examples/decorators', ...options)).toEqual({ code: 0, lines: [], complaints: '' })
    const { code, lines, complaints } = await run([`examples/decorators/dist/test/${mode}/main.js`])
    expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
    expect(lines).toEqual([
      'sku-1 costs 7, asked 3 times',
      '42',
      'sku-2: no price right now',
      'Error: the disk is full',
      'Error: the disk is full',
      'Prices.audit circuit-open',
    ])
  },
)
