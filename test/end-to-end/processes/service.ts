/**
 * A service whose requests are written down before they are answered, so that a kill -9 forgets
 * none. `POST /` takes an id as its body; `GET /who` tells about the process and the connection;
 * `/slow?ms` answers late.
 */
import { openSync, writeSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TLSSocket } from 'node:tls'
import { joinMesh } from '../../../src/index.ts'
import { Observer } from '../observer.ts'
import { obey, options, report } from './parent.ts'

const { mesh: meshOptions, serve, log, workMs = 3, name = String(process.pid) } = options
const file = log === undefined ? undefined : openSync(log, 'a')
const mesh = await joinMesh(meshOptions)

async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
  const url = new URL(req.url ?? '/', 'http://x')
  if (req.method === 'POST') {
    let id = ''
    for await (const chunk of req) id += chunk
    if (file !== undefined) writeSync(file, `${id}\n`)
    await new Promise((resolve) => setTimeout(resolve, workMs))
    res.end(name)
    return
  }
  const ms = Number(url.searchParams.get('ms') ?? 0)
  if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms))
  if (url.pathname !== '/who') {
    res.end(name)
    return
  }
  const socket = req.socket as TLSSocket
  res.setHeader('content-type', 'application/json')
  res.end(
    JSON.stringify({
      name,
      caller: socket.getPeerX509Certificate?.()?.serialNumber,
      own: socket.getX509Certificate?.()?.serialNumber,
      renewals: mesh.events().filter((event) => event.name === 'identity:renewed').length,
    }),
  )
}

const server = await mesh.serve(answer, { host: '127.0.0.1', ...serve })
let observer: Observer | undefined
obey((order) => {
  if (order === 'observe' || order === 'observed') {
    observer ??= new Observer(mesh, mesh.service)
    if (order === 'observe') observer.begin()
    report({ now: observer.now, least: observer.least })
  }
  if (order === 'stale') report({ stale: mesh.stale })
  if (order === 'close') void mesh.close().then(() => report({ closed: true }))
})
report({ name, port: server.port, stale: mesh.stale })
