import { expect, test } from 'vitest'
import { runExample } from '../../test/rigs/run-example.ts'

test('a Hono application answers through the mesh, knows who asks, and the process ends by itself', async () => {
  const { code, lines, complaints } = await runExample('examples/hono/main.ts')
  expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  expect(lines.map((line) => JSON.parse(line))).toEqual([{ sku: '42', stock: 7, askedBy: 'inventory' }])
})
