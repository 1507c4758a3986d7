import { afterEach, describe, expect, it } from 'vitest'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'

let test: TestMesh | undefined

afterEach(async () => {
  await test?.close()
})

const BREAKER = { minimumCalls: 3, resetAfter: '100ms', window: '10s' }

async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10))
}

describe('a half-open breaker', () => {
  const streams = [
    ['declared', '/file', { streaming: true }],
    ['seen by its type', '/events', undefined],
  ] as const
  it.each(streams)(
    'closes with the head of a stream that is %s, and lets others in at once',
    async (_, path, options) => {
      test = await startTestMesh({
        policies: [{ service: 'inventory', ejection: false, throttle: false, circuitBreaker: BREAKER }],
      })
      let failing = true
      await test.serve('inventory', (req, res) => {
        if (failing) res.writeHead(500).end('no')
        else if (req.url === '/') res.end('fine')
        else {
          res.writeHead(200, { 'content-type': req.url === '/events' ? 'text/event-stream' : 'text/plain' })
          res.write('data: 1\n\n')
        }
      })
      const caller = await test.join('checkout')
      const inventory = caller.http('inventory')
      const circuit = () => caller.circuits()[0]!
      while (caller.circuits().length === 0 || circuit().closed) await inventory.get('/').catch(() => undefined)
      failing = false
      let body: ReadableStream<Uint8Array> | undefined
      await until(async () => {
        body = await inventory.get(path, options).then(
          (answer) => answer.body,
          () => undefined,
        )
        return body !== undefined
      })
      expect(circuit().closed).toBe(true)
      expect(await (await inventory.get('/')).text()).toBe('fine')
      await body!.cancel()
      expect(circuit().closed).toBe(true)
    },
  )
})
