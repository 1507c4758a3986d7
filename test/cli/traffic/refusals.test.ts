/** Commands of the service graph and registries that do not answer them. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type Run, run } from '../run-command.ts'
import { TrafficMesh } from './rig.ts'

const COMMANDS = [
  ['top'],
  ['top', '--once'],
  ['stat'],
  ['stat', 'a'],
  ['edges'],
  ['routes'],
  ['routes', 'a'],
  ['graph'],
]

let server: Server | undefined
let mesh: TrafficMesh | undefined
afterEach(async () => {
  server?.closeAllConnections()
  await new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
  await mesh?.close()
  server = undefined
  mesh = undefined
})

async function against(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  args: readonly string[],
): Promise<Run> {
  const listening = createServer(answer)
  server = listening
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`
  return run([...args, '--registry', url], { env: { HOME: '/nonexistent' }, terminal: true })
}

/** The last column: nothing of a screen was opened. */
const oneLine = (code: number, message: RegExp) => ({
  code,
  stdout: '',
  stderr: expect.stringMatching(new RegExp(`^\\S*error:\\S* ${message.source}\\n$`)),
})

describe.each(COMMANDS)('inmesh %s %s', (...args) => {
  it('says so in one line if no registry answers', async () => {
    const result = await run([...args.filter(Boolean), '--registry', 'http://127.0.0.1:1'], { terminal: true })
    expect(result).toMatchObject(oneLine(3, /no answer from the registry at .*/))
  })

  it('says that the registry is older', async () => {
    const result = await against((request, response) => {
      const message = `there is nothing at ${request.url!.split('?')[0]}`
      response.writeHead(404, { 'content-type': 'application/json' })
      response.end(JSON.stringify({ error: { code: 'not-found', message } }))
    }, args.filter(Boolean))
    expect(result).toMatchObject(oneLine(1, /the registry at \S+ is older than the service graph; upgrade it, .*/))
  })

  it('says that the token is refused', async () => {
    mesh = await new TrafficMesh().start()
    const bad = `inmesh-admin.${'A'.repeat(27)}.${mesh.registry.rootFingerprint}`
    const result = await mesh.command([...args.filter(Boolean), '--token', bad], { terminal: true })
    expect(result).toMatchObject(oneLine(1, /the admin token is not one of this registry.*/))
  })

  it('says that the registry keeps no traffic', async () => {
    mesh = await new TrafficMesh().start({ traffic: false })
    const result = await mesh.command(args.filter(Boolean), { terminal: true })
    expect(result).toMatchObject(oneLine(1, /this registry keeps no traffic; .*/))
  })

  it('refuses a window that is none', async () => {
    const result = await run([...args.filter(Boolean), '--window', '2h'], { terminal: true })
    expect(result).toMatchObject(oneLine(2, /option '--window <duration>' .*1h.*|.*--window.*/))
  })
})
