import { expect, test } from 'vitest'
import { runExample } from '../../test/rigs/run-example.ts'

test('a node:http handler answers through the mesh, knows who asks and for how long, and the process ends by itself', async () => {
  const { code, lines, complaints } = await runExample('examples/node-http/main.ts')
  expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  const told = lines.map((line) => JSON.parse(line))
  expect(told).toEqual([{ hello: '/world', askedBy: 'greeter', leftMs: expect.any(Number) }])
  expect(told[0].leftMs).toBeGreaterThan(0)
  expect(told[0].leftMs).toBeLessThanOrEqual(2_000)
})
