/**
 * The built-in `fetch` and that of a mesh before one server, and what code can see of their
 * answers.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { MeshFetchInit } from '../../../../src/client/http/fetch/init.ts'
import { opened } from '../opened.ts'
import { makeRig, TestServer } from '../rig.ts'

const BIG = 'x'.repeat(200_000)

function text(res: ServerResponse, body: string, headers: Record<string, string | string[]> = {}): void {
  res.writeHead(200, { 'content-type': 'text/plain', ...headers }).end(body)
}

async function mirror(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const parts: Buffer[] = []
  for await (const part of req) parts.push(part)
  const { host: _, connection: __, ...headers } = req.headers
  const body = Buffer.concat(parts).toString('latin1')
  text(res, JSON.stringify({ method: req.method, url: req.url, headers, body }))
}

/** Answers that have begun, until somebody asks for `/break`. */
const breaking = new Set<ServerResponse>()

const pages: Record<string, (req: IncomingMessage, res: ServerResponse) => void> = {
  '/hello': (_req, res) => text(res, 'hello'),
  '/json': (_req, res) => text(res, '{"a":1}', { 'content-type': 'application/json; charset=utf-8' }),
  '/form': (_req, res) => text(res, 'a=1&b=2', { 'content-type': 'application/x-www-form-urlencoded' }),
  '/bom': (_req, res) => text(res, '\ufeffhello'),
  '/empty': (_req, res) => text(res, ''),
  '/cookies': (_req, res) => text(res, '', { 'set-cookie': ['a=1', 'b=2; Path=/'], 'X-Mixed': ['1', '2'] }),
  '/big': (_req, res) => {
    res.write(BIG.slice(0, 100_000))
    setTimeout(() => res.end(BIG.slice(100_000)), 5)
  },
  '/moved': (_req, res) => void res.writeHead(302, { location: '/hello' }).end('moved'),
  '/hang': () => {},
  '/half': (_req, res) => void res.writeHead(200, { 'content-length': '1000000' }).write('x'.repeat(70_000)),
  '/broken': (_req, res) => {
    res.writeHead(200, { 'content-length': '1000000' }).write('x'.repeat(70_000))
    setTimeout(() => res.destroy(), 20)
  },
  '/breaks': (_req, res) => {
    res.writeHead(200, { 'content-length': '1000000' }).write('x'.repeat(70_000))
    breaking.add(res)
  },
  '/break': (_req, res) => {
    for (const one of breaking) one.destroy()
    breaking.clear()
    text(res, 'broken')
  },
}

export interface Door {
  fetch(path: string, init?: MeshFetchInit): Promise<Response>
  request(path: string, init?: RequestInit): Request
  fetchRequest(request: Request, init?: MeshFetchInit): Promise<Response>
}

export async function doors(): Promise<{ mesh: Door; builtIn: Door }> {
  const server = await new TestServer((req, res) => {
    const status = /^\/status\/(\d+)$/.exec(req.url!)
    if (status !== null) res.writeHead(Number(status[1]), { 'x-a': '1' }).end(Number(status[1]) === 205 ? '' : 'body')
    else (pages[req.url!] ?? mirror)(req, res)
  }).listen()
  opened(server)
  const rig = await makeRig([server.port], { retry: { attempts: 1 } })
  opened(rig)
  const door = (base: string, fetches: (input: string | Request, init?: never) => Promise<Response>): Door => ({
    fetch: (path, init) => fetches(base + path, init as never),
    request: (path, init) => new Request(base + path, init),
    fetchRequest: (request, init) => fetches(request, init as never),
  })
  return { mesh: door('http://inventory', rig.fetch), builtIn: door(`http://127.0.0.1:${server.port}`, fetch) }
}

/** The value, or of an error what code can go by. */
export async function observe(run: () => unknown): Promise<unknown> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof DOMException) return `DOMException ${error.name}`
    return error instanceof Error
      ? `throws ${error instanceof TypeError ? 'TypeError' : error.name}`
      : { reason: error }
  }
}

export async function seen(answer: Promise<Response>): Promise<Record<string, unknown>> {
  const { method, body, headers } = JSON.parse(await (await answer).text())
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': encoding } = headers
  return { method, body, type, length, encoding, mine: headers['x-a'] }
}

export type Row = [name: string, run: (door: Door) => unknown]
