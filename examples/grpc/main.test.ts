import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { COMPILED_TEST_MS, compile, runExample } from '../../test/rigs/run-example.ts'

// Inside the package, because that is where 'inmesh' is found.
const OUTPUT = fileURLToPath(new URL('./dist/test', import.meta.url))

afterAll(() => rmSync(OUTPUT, { recursive: true, force: true }))

test('a generated service and its client speak all four kinds of call, by callbacks and by promises', async () => {
  const { code, lines, complaints } = await runExample('examples/grpc/ts-proto.ts')
  expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  expect(lines).toEqual([
    'quote 103 by prices, asked by prices',
    'sum 207',
    'watch 100',
    'watch 99',
    'watch 98',
    'bargain 95',
    'quote 103',
    'sum 207',
    'watch 100',
    'watch 99',
    'bargain 95',
    'bargain 96',
  ])
})

test('a service and a client that were loaded from a .proto do the same', async () => {
  const { code, lines, complaints } = await runExample('examples/grpc/proto-loader.ts')
  expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  expect(lines).toEqual([
    'quote 103',
    'quote 103',
    'sum 207',
    'watch 100',
    'watch 99',
    'watch 98',
    'bargain 95',
    'bargain 96',
  ])
})

test.each([
  ['standard', 'false'],
  ['experimental', 'true'],
])(
  'a class is a service, and what it calls is protected by %s decorators',
  { timeout: COMPILED_TEST_MS },
  async (mode, experimentalDecorators) => {
    const options = ['--experimentalDecorators', experimentalDecorators, '--outDir', `${OUTPUT}/${mode}`]
    expect(await compile('examples/grpc', ...options)).toEqual({ code: 0, lines: [], complaints: '' })
    const { code, lines, complaints } = await runExample(`examples/grpc/dist/test/${mode}/decorated.js`)
    expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
    expect(lines).toEqual([
      '7 left, asked by inventory',
      'FAILED_PRECONDITION Error: there is no such shelf',
      'FAILED_PRECONDITION Error: there is no such shelf',
      'FAILED_PRECONDITION circuit-open',
    ])
  },
)
