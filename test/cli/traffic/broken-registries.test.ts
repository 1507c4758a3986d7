/** Commands of the service graph, and taps, where no registry answers as it should. */
import { createServer as createHttp, type RequestListener, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcp, type Server } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type Run, run } from '../run-command.ts'
import { TrafficMesh } from './rig.ts'

const TAP = 'tap a'
/** They join the mesh, which no registry in plain text has. */
const JOINING = ['call http://a/', 'proxy --port 0']
const COMMANDS = [
  ...['top', 'top --once', 'stat', 'stat a', 'edges', 'routes', 'routes a'],
  ...['graph', 'graph --format dot', 'graph --format json', TAP],
]
/** More than a command waits for an answer. */
const PATIENCE_MS = 60_000

const open: Server[] = []
const sockets = new Set<{ destroy(): void }>()
const meshes: TrafficMesh[] = []
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  sockets.clear()
  await Promise.all(open.splice(0).map((server) => new Promise((resolve) => server.close(resolve))))
  await Promise.all(meshes.splice(0).map((mesh) => mesh.close()))
})

async function listening(server: Server): Promise<string> {
  open.push(server)
  server.on('connection', (socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const answering = (answer: RequestListener): Promise<string> => listening(createHttp(answer))
const saying = (body: string, status = 200) => answering((_request, response) => response.writeHead(status).end(body))

async function mesh(options: Parameters<TrafficMesh['start']>[0] = {}): Promise<TrafficMesh> {
  const started = await new TrafficMesh().start(options)
  meshes.push(started)
  return started
}

/** Of each command, its exit code and the one line of its error. */
async function all(env: Record<string, string | undefined>, commands = COMMANDS) {
  const entries = commands.map(async (command) => {
    const around = { env: { HOME: '/nonexistent', ...env }, terminal: true, patience: 'kept' } as const
    const result = await run(command.split(' '), around)
    return [command, summary(result)] as const
  })
  return Object.fromEntries(await Promise.all(entries))
}

function summary({ code, stdout, stderr }: Run): string {
  const said = stderr.replace(/^waiting for .*\n/gm, '')
  const lines = said.trimEnd().split('\n')
  const error = lines.length === 1 ? said.replace(/^\S*error:\S* (.*)\n$/, '$1') : `${lines.length} lines`
  // On a busy machine any answer may be late.
  const waited = said !== stderr && / within \d+ m?s$/.test(error) ? 'waited, ' : ''
  return `${code} ${stdout === '' ? '' : 'printed '}${waited}${error.replace(/https?:\/\/[\w.]+:\d+/g, 'URL')}`
}

const each = (expected: string, commands = COMMANDS) =>
  Object.fromEntries(commands.map((command) => [command, expected]))
const tapApart = (expected: string, tap: string) => ({ ...each(expected), [TAP]: tap })

const NO_GRAPH =
  /^1 URL answered something that is no service graph \(its [\w.]+ is invalid\); is it an inmesh registry\?$/
const NO_RECORD = '1 URL answered something that is no record of a tap'
const COVERAGE = { processes: 1, heard: 1, silent: [], notReporting: 0, unreachable: [] }
const START = { at: 1, windowMs: 60_000, coverage: COVERAGE }

describe('every command', () => {
  it.each([
    ['{}'],
    ['{"edges":[null],"nodes":[null],"services":[null],"routes":[null],"coverage":{}}'],
    [JSON.stringify({ ...START, nodes: [{}], edges: [{ from: 'a' }], services: [7], service: 'a', routes: ['x'] })],
    [JSON.stringify({ ...START, at: 1e300, nodes: [], edges: [], services: [], service: 'a', routes: [], left: 0 })],
    [JSON.stringify({ ...START, coverage: { ...COVERAGE, silent: 'no' }, nodes: [], edges: [], services: [] })],
  ])('names what is invalid in an answer: %s', async (body) => {
    const found = await all({ INMESH_REGISTRY: await saying(`${body}\n`) })
    expect(found).toEqual({ ...each(expect.stringMatching(NO_GRAPH) as never), [TAP]: NO_RECORD })
  })

  it('says that what answers is no registry', async () => {
    expect(await all({ INMESH_REGISTRY: await saying('<html>\n') })).toEqual(
      tapApart('1 URL answered something that is not JSON; is it an inmesh registry?', NO_RECORD),
    )
    for (const status of [302, 404, 502]) {
      expect(await all({ INMESH_REGISTRY: await saying('<html>\n', status) })).toEqual(
        each(`1 URL answered HTTP ${status} without an error of the registry; is it an inmesh registry?`),
      )
    }
  })

  it('says that an answer broke off', async () => {
    const url = await answering((_request, response) => {
      response.writeHead(200).write('{"edges":[', () => response.destroy())
    })
    expect(await all({ INMESH_REGISTRY: url })).toEqual(
      each('3 no answer from the registry at URL: the answer broke off'),
    )
  })

  it('gives up an answer that has no end', { timeout: PATIENCE_MS }, async () => {
    const blank = Buffer.alloc(1024 * 1024, ' ')
    const url = await answering((_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write(blank));
        response.once('drain', more)
      }
      more()
    })
    // One after the other: each holds 64 MiB.
    for (const command of ['edges', 'stat', 'routes', 'graph', 'top --once']) {
      expect(await all({ INMESH_REGISTRY: url }, [command])).toEqual({
        [command]: '1 URL answered with more than 64 MiB',
      })
    }
    expect(await all({ INMESH_REGISTRY: url }, [TAP])).toEqual({ [TAP]: NO_RECORD })
  })

  it('waits for 10 s and says so: for a connection that stays silent, and for an answer that drips', {
    timeout: PATIENCE_MS,
  }, async () => {
    const silent = await listening(createTcp(() => {}))
    const timers: NodeJS.Timeout[] = []
    const dripping = await answering((_request, response: ServerResponse) => {
      response.writeHead(200).write('{')
      timers.push(setInterval(() => response.write(' '), 200))
    })
    const admin = (await mesh()).registry.adminToken
    const [plain, drips, tls] = await Promise.all([
      all({ INMESH_REGISTRY: silent }),
      all({ INMESH_REGISTRY: dripping }),
      all({ INMESH_REGISTRY: silent.replace('http:', 'https:'), INMESH_ADMIN_TOKEN: admin }, [
        'edges',
        TAP,
        ...JOINING,
      ]),
    ])
    timers.forEach(clearInterval)
    const late = 'no answer from the registry at URL: no answer within 10 s'
    // What prints JSON says nothing beside it.
    expect(plain).toEqual({ ...each(`3 waited, ${late}`), 'graph --format json': `3 ${late}` })
    // The head of its answer was there at once.
    expect(drips).toEqual({ ...plain, [TAP]: `3 ${late}` })
    const silence = expect.stringMatching(/^3 waited, no answer from the registry at URL: /) as never
    expect(tls).toEqual(each(silence, ['edges', TAP, ...JOINING]))
  })

  it('refuses an address in plain text where it joins the mesh', async () => {
    expect(await all({ INMESH_REGISTRY: 'http://127.0.0.1:1' }, JOINING)).toEqual(
      each(`2 registry: expected a registry address such as 'URL', got "URL"`, JOINING),
    )
  })

  it('says that a name has no address, and that the registry is of another mesh', async () => {
    const { registry } = await mesh()
    const other = await mesh()
    const commands = [...COMMANDS, ...JOINING]
    const INMESH_ADMIN_TOKEN = registry.adminToken
    const unknown = await all({ INMESH_REGISTRY: 'https://registry.invalid:7400', INMESH_ADMIN_TOKEN }, commands)
    const noAddress = /^3 no answer from the registry at URL: its name cannot be resolved \(E\w+\)$/
    expect(unknown).toEqual(each(expect.stringMatching(noAddress) as never, commands))
    const foreign = await all({ INMESH_REGISTRY: other.registry.url, INMESH_ADMIN_TOKEN }, commands)
    expect(foreign).toEqual(each(expect.stringMatching(/^1 .*fingerprint.*$/) as never, commands))
  })

  it('asks the second registry where the first takes no connection', async () => {
    const { registry } = await mesh()
    const env = { INMESH_REGISTRY: `https://127.0.0.1:1,${registry.url}`, INMESH_ADMIN_TOKEN: registry.adminToken }
    expect(await all(env, ['edges', 'graph --format json'])).toEqual(
      each('0 printed ', ['edges', 'graph --format json']),
    )
  })

  it('says that an empty mesh has no calls, and no such service', async () => {
    const { registry } = await mesh()
    const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken }
    const commands = COMMANDS.filter((command) => command !== 'top')
    expect(await all(env, commands)).toEqual({
      ...each('0 printed ', commands),
      'stat a': "1 there is no service 'a'",
      [TAP]: "1 there is no service 'a'",
    })
  })

  it('refuses a read-only operator a tap alone', async () => {
    const { registry } = await mesh()
    const made = await run(['token', 'operator', 'create', 'ann', '--read-only', '--json'], {
      env: { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: registry.adminToken },
    })
    const env = { INMESH_REGISTRY: registry.url, INMESH_ADMIN_TOKEN: JSON.parse(made.stdout).token }
    const found = await all(env, ['edges', 'stat', 'routes', 'graph', TAP])
    expect(found).toEqual({
      ...each('0 printed ', ['edges', 'stat', 'routes', 'graph']),
      [TAP]: expect.stringMatching(/^1 .*read.*$/),
    })
  })
})
