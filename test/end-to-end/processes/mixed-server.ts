/**
 * An instance of `inventory` by HTTP and gRPC, of this version or an older one. `POST` and `Take`
 * record an id on disk before they are answered; each answer names the instance and what carried
 * the call.
 */
import { openSync, writeSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { text } from 'node:stream/consumers'
import type * as Library from '../../../src/index.ts'
import { type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { libraryFor, obey, options, report } from './parent.ts'

const { mesh: meshOptions, serve, ports = {}, log, name } = options
const { currentCall, joinMesh }: typeof Library = await import(libraryFor('index'))
const file = openSync(log, 'a')
const mesh = await joinMesh(meshOptions)

/** An older version does not know of several. */
const says = (by: string): string => `${name} ${currentCall()?.transport ?? by}`
/** So that each moment finds calls that run. */
const later = (answer: () => void): unknown => setTimeout(answer, 5)

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const said = says('http/1.1')
  if (request.method === 'POST') writeSync(file, `${await text(request)}\n`)
  later(() => response.end(said))
}

const handlers: ShopHandlers = {
  Get: (_call, answered) => {
    const said = says('h2')
    later(() => answered(null, { sku: said }))
  },
  Take: (call, answered) => {
    const said = says('h2')
    writeSync(file, `${call.request.sku}\n`)
    later(() => answered(null, { sku: said }))
  },
}

const host = '127.0.0.1'
const [http, grpc] = await Promise.all([
  mesh.serve(answer, { host, port: ports.http, ...serve }),
  mesh.serveGrpc(shopServer(handlers), { host, port: ports.grpc }),
])
obey(() => undefined)
report({ name, ports: { http: http.port, grpc: grpc.port } })
