/** A process that serves 1 KB of JSON: bare, or inside a mesh, or as several services at once. */
import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { joinMesh, type TransportPreference } from 'inmesh'
import { ANSWERED_APART, APART_MS } from './answers.ts'
import { answer, givenJob } from './measured-process.ts'
import type { MeshCredentials } from './testbed.ts'

export interface ServerJob {
  readonly registry: string
  /** @defaultValue as all processes of the mesh */
  readonly transport?: TransportPreference
  /** One port each, in this order. */
  readonly doors: readonly Door[]
  /** It can be asked to `report` its load, or not. @defaultValue it does, and cannot be asked */
  readonly switchable?: boolean
}

export type Door =
  | { readonly kind: 'mesh'; readonly service: string; readonly mode: 'plaintext' | 'strict' }
  | { readonly kind: 'bare'; readonly credentials?: MeshCredentials }

export interface ServerReady {
  readonly ports: readonly number[]
}

const { registry, transport, doors, switchable = false } = givenJob<ServerJob>()
const BODY = JSON.stringify({
  items: Array.from({ length: 20 }, (_, id) => ({ id: 1_000 + id, name: `item number ${id % 10}`, price: 100 + id })),
})

const handler: RequestListener = (request, response) => {
  if (request.url === ANSWERED_APART) setTimeout(send, Math.random() * 2 * APART_MS, response)
  else send(response)
}

function send(response: ServerResponse): void {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': BODY.length })
  response.end(BODY)
}

async function open(door: Door): Promise<number> {
  if (door.kind === 'mesh') {
    const mesh = await joinMesh({
      service: door.service,
      registry,
      ...(transport !== undefined && { transport }),
      stateDir: 'memory',
      handleSignals: false,
      joinTimeout: '30s',
    })
    return (await mesh.serve(handler, { host: '127.0.0.1', mode: door.mode })).port
  }
  const { credentials } = door
  const server: Server =
    credentials === undefined
      ? createServer(handler)
      : createTlsServer({ ...tlsOf(credentials), requestCert: true, rejectUnauthorized: true }, handler)
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve)
  })
  // As long as ours, so that no connection is made anew between rounds.
  server.keepAliveTimeout = 65_000
  return (server.address() as AddressInfo).port
}

function tlsOf({ key, cert, ca }: MeshCredentials) {
  return { key, cert, ca: [...ca], minVersion: 'TLSv1.3' as const }
}

/** What is protected in `ServedCall`. */
interface Answering {
  answers(good: boolean): unknown
}

/** The function that this returns turns the measuring and reporting of load on or off. */
async function switchableReports(): Promise<(on: boolean) => void> {
  const { ServedCall } = await import('../dist/server/served-call.js')
  const prototype = ServedCall.prototype as unknown as Answering
  const { answers } = prototype
  let reporting = true
  prototype.answers = function (good) {
    return reporting ? answers.call(this, good) : undefined
  }
  return (on) => {
    reporting = on
  }
}

const report = switchable ? await switchableReports() : undefined
const ports = await Promise.all(doors.map(open))
answer(report === undefined ? {} : { report }, { ports } satisfies ServerReady)
