/** Commands of the service graph, and taps, and registries that do not answer them. */
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
const TAP = ['tap', 'a']

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

/** Without anything of a screen. */
const oneLine = (code: number, message: RegExp) => ({
  code,
  stdout: '',
  stderr: expect.stringMatching(new RegExp(`^\\S*error:\\S* ${message.source}\\n$`)),
})

describe.each([...COMMANDS, TAP])('inmesh %s %s', (...args) => {
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
    expect(result).toMatchObject(
      oneLine(1, /the registry at \S+ is older than (?:the service graph|`inmesh tap`); upgrade it, .*/),
    )
  })

  it('says that the token is refused', async () => {
    mesh = await new TrafficMesh().start()
    const bad = `inmesh-admin.${'A'.repeat(27)}.${mesh.registry.rootFingerprint}`
    const result = await mesh.command([...args.filter(Boolean), '--token', bad], { terminal: true })
    expect(result).toMatchObject(oneLine(1, /the admin token is not one of this registry.*/))
  })

  it.runIf(args[0] !== 'tap')('says that the registry keeps no traffic', async () => {
    mesh = await new TrafficMesh().start({ traffic: false })
    const result = await mesh.command(args.filter(Boolean), { terminal: true })
    expect(result).toMatchObject(oneLine(1, /this registry keeps no traffic; .*/))
  })

  it.runIf(args[0] !== 'tap')('refuses a window that is none', async () => {
    const result = await run([...args.filter(Boolean), '--window', '2h'], { terminal: true })
    expect(result).toMatchObject(oneLine(2, /option '--window <duration>' .*1h.*|.*--window.*/))
  })
})

describe('inmesh tap', () => {
  it.each([
    [['--path', 'items'], '--path'],
    [['--path', '/items?x=1'], '--path'],
    [['--status', '6xx'], '--status'],
    [['--status', '500-599'], '--status'],
    [['--status', '5xx,'], '--status'],
    [['--status', 'toString'], '--status'],
    [['--path', '/a/*/b\u001b'], '--path'],
    [['--path', ''], '--path'],
    [['--header', 'x tenant'], '--header'],
    [['--max', '1e9'], '--max'],
    [['--rate', 'NaN'], '--rate'],
    [['--for', 'soon'], '--for'],
    [['--method', 'G T'], '--method'],
    [['--max', '0'], '--max'],
    [['--rate', '1000'], '--rate'],
    [['--for', '1h'], '--for'],
    [['--header', 'authorization'], '--header'],
    [['--from', 'Check Out'], '--from'],
  ])('refuses %j', async (flags, name) => {
    const result = await run(['tap', 'a', ...flags, '--registry', 'http://127.0.0.1:1'])
    expect(result).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining(name) })
    expect(result.stderr.trim().split('\n')).toHaveLength(1)
  })

  it('says so when the registry ends it early, or answers something else', async () => {
    const early = await against((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' })
      response.end('{"type":"beat","processes":0,"left":0}\n')
    }, TAP)
    expect(early).toMatchObject(oneLine(1, /\S+ ended the tap early: its answer ended/))
    server!.close()
    const other = await against((_request, response) => response.end('<html>\n'), TAP)
    expect(other).toMatchObject(oneLine(1, /\S+ answered something that is no record of a tap/))
  })

  it('sends a status of gRPC as its number, and shows it by its name', async () => {
    let asked = ''
    const call = { type: 'call', at: 1, from: 'a', to: 'b', protocol: 'grpc', method: 'shop.Inventory/Get', ms: 1 }
    const records = [
      { ...call, attempts: 1, status: 14, code: 'unavailable' },
      { ...call, attempts: 1, status: 0 },
      { type: 'end', why: 'of-another-version', calls: 2, left: 0 },
    ]
    const { code, stdout, stderr } = await against(
      (request, response) => {
        request.on('data', (chunk: Buffer) => (asked += chunk))
        request.on('end', () => response.end(records.map((record) => `${JSON.stringify(record)}\n`).join('')))
      },
      [...TAP, '--status', 'unavailable,OK,5xx,404,none'],
    )
    expect(JSON.parse(asked).statuses).toEqual(['14', '0', '5xx', '404', 'none'])
    expect([code, stderr]).toEqual([0, 'of-another-version: 2 calls\n'])
    expect(stdout).toMatch(/ grpc shop\.Inventory\/Get {2}\S*UNAVAILABLE unavailable\S* {2}1 ms\n/)
    expect(stdout).toMatch(/ grpc shop\.Inventory\/Get {2}OK {2}1 ms\n$/)
  })

  it('prints no control characters of a registry', async () => {
    const call = { type: 'call', at: 1, from: 'a', to: 'b', protocol: 'http', method: 'GET', path: '/\u001b[2J', ms: 1 }
    const records = [
      { ...call, attempts: 2, status: 503, code: 'x' },
      { type: 'end', why: 'max', calls: 1, left: 2 },
    ]
    const { code, stdout, stderr } = await against((_request, response) => {
      response.end(records.map((record) => `${JSON.stringify(record)}\n`).join(''))
    }, TAP)
    expect(code).toBe(0)
    expect(stdout).toContain('00:00:00.001  a -> b  GET /?[2J  \u001b[31m503 x\u001b[0m  1 ms  2 attempts\n')
    expect(stderr).toBe('as many as asked for: 1 call, 2 more matched and were not shown\n')
  })
})
