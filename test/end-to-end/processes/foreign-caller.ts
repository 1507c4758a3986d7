/**
 * Clients that know of no mesh, at fixed ports in plaintext: undici, node:http2 and curl. As
 * gateways do, they leave an instance for a while that asks them to go or refuses the connection,
 * and repeat only what has reached none.
 */
import { execFile } from 'node:child_process'
import { type ClientHttp2Session, connect, constants } from 'node:http2'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import { Pool } from 'undici'
import { Load } from '../load.ts'
import { obey, options, report } from './parent.ts'

const { ports, perSecond, curl } = options as { ports: number[]; perSecond: number; curl: boolean }
const AWAY_MS = 1_000
/** Of curl: the connection was refused. */
const REFUSED_EXIT = 7

/** One way to ask a port; rejects with `Refused` if nothing was sent. */
type Ask = (port: number, id: string | undefined) => Promise<string>

class Refused extends Error {}

const awayUntil = new Map<number, number>(ports.map((port) => [port, 0]))
const once: string[] = []
const seen: Record<string, number> = {}
let begun = 0
let turn = 0

const leave = (port: number): unknown => awayUntil.set(port, performance.now() + AWAY_MS)

function choose(): number {
  const here = ports.filter((port) => awayUntil.get(port)! <= performance.now())
  const all = here.length === 0 ? ports : here
  return all[turn++ % all.length]!
}

async function insist(ask: Ask, id: string | undefined): Promise<string> {
  for (let tries = 0; ; tries++) {
    const port = choose()
    try {
      return await ask(port, id)
    } catch (error) {
      if (!(error instanceof Refused) || tries === 50) throw error
      leave(port)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

const pools = new Map(ports.map((port) => [port, new Pool(`http://127.0.0.1:${port}`, { connections: 4 })]))

const byUndici: Ask = async (port, id) => {
  const asked = id === undefined ? ({ method: 'GET' } as const) : ({ method: 'POST', body: id } as const)
  const answer = await pools
    .get(port)!
    .request({ path: '/', ...asked })
    .catch((error: NodeJS.ErrnoException) => {
      throw error.code === 'ECONNREFUSED' ? new Refused() : error
    })
  if (answer.headers.connection === 'close') leave(port)
  const said = await answer.body.text()
  if (answer.statusCode !== 200) throw new Error(`undici: status ${answer.statusCode}: ${said}`)
  return said
}

const sessions = new Map<number, ClientHttp2Session>()

function sessionAt(port: number): Promise<ClientHttp2Session> {
  const open = sessions.get(port)
  if (open !== undefined && !open.closed && !open.destroyed) return Promise.resolve(open)
  const { promise, resolve, reject } = Promise.withResolvers<ClientHttp2Session>()
  const session = connect(`http://127.0.0.1:${port}`)
  session.on('error', () => reject(new Refused()))
  session.on('goaway', () => leave(port))
  session.once('connect', () => {
    sessions.set(port, session)
    resolve(session)
  })
  return promise
}

const byHttp2: Ask = async (port, id) => {
  const session = await sessionAt(port)
  if (session.closed || session.destroyed) throw new Refused()
  const stream = session.request({ ':method': id === undefined ? 'GET' : 'POST' }, { endStream: id === undefined })
  let status = 0
  stream.on('response', (head) => {
    status = head[':status'] ?? 0
  })
  if (id !== undefined) stream.end(id)
  const said = await text(stream).catch((error: Error) => {
    throw stream.rstCode === constants.NGHTTP2_REFUSED_STREAM ? new Refused() : error
  })
  if (status !== 200) throw new Error(`node:http2: status ${status}, reset ${stream.rstCode}: ${said}`)
  return said
}

const byCurl: Ask = async (port, id) => {
  const version = turn % 2 === 0 ? '--http1.1' : '--http2-prior-knowledge'
  const body = id === undefined ? [] : ['-d', id]
  const args = ['-sS', '--fail', version, ...body, `http://127.0.0.1:${port}/`]
  const { stdout } = await promisify(execFile)('curl', args).catch((error: { code: number }) => {
    throw error.code === REFUSED_EXIT ? new Refused() : error
  })
  return stdout
}

function loadOf(client: string, rate: number, ask: Ask): Load {
  return new Load(rate, async (number) => {
    begun += 1
    const id = number % 2 === 0 ? undefined : `${client}-${number}`
    if (id !== undefined) once.push(id)
    const said = `${client} ${await insist(ask, id)}`
    seen[said] = (seen[said] ?? 0) + 1
  })
}

const loads = [loadOf('undici', perSecond, byUndici), loadOf('http2', perSecond, byHttp2)]
if (curl) loads.push(loadOf('curl', 2, byCurl))

obey(async (order) => {
  if (order === 'seen') report({ seen })
  else {
    await Promise.all(loads.map((load) => load.stop()))
    const answered = loads.reduce((sum, load) => sum + load.succeeded, 0)
    const lost = loads.flatMap(({ failures }) => failures.map(String))
    report({ seen, once, begun, answered, counted: begun, lost })
  }
})
report({ name: 'foreign' })
