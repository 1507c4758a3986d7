import { expect, test } from 'vitest'
import { runExample } from '../../test/rigs/run-example.ts'

test('a Fastify application knows who asks, takes a WebSocket, and answers for a dependency that is missing', async () => {
  const { code, lines, complaints } = await runExample('examples/fastify/main.ts')
  expect({ code, complaints, lines }).toEqual({
    code: 0,
    complaints: '',
    lines: [
      '200 {"sku":"42","stock":7,"askedBy":"inventory"}',
      '200 ready',
      '504 {"type":"urn:inmesh:problem:dependency-timeout","title":"A service that this one needs did not answer in time","status":504}',
      'for inventory: 42 has 6 left',
    ],
  })
})
