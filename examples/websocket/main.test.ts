import { expect, test } from 'vitest'
import { runExample } from '../../test/rigs/run-example.ts'

test('two members of a room hear each other through the mesh, and are asked to close when it leaves', async () => {
  const { code, lines, complaints } = await runExample('examples/websocket/main.ts')
  expect({ code, complaints }).toEqual({ code: 0, complaints: '' })
  expect(lines).toEqual(['first hears chat: hello', 'first is closed with 1001'])
})
