/**
 * A gRPC client over fixed endpoints, without registry or mesh; the service is that of
 * `shop.proto`.
 */
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { ClientIdentity } from '../../../src/client/client-identity.ts'
import type { Destination } from '../../../src/client/destination.ts'
import {
  type GrpcClient,
  type GrpcClientClass,
  type GrpcClientOptions,
  makeGrpcClient,
} from '../../../src/client/grpc/client.ts'
import type { Grpc } from '../../../src/client/grpc/grpc-js.ts'
import { GrpcTransport, type GrpcTransportParts } from '../../../src/client/grpc/transport.ts'
import type { GrpcTransportSettings } from '../../../src/client/grpc/transport-options.ts'
import { type Clock, systemClock } from '../../../src/core/clock.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { isMeshError, type MeshError } from '../../../src/core/errors.ts'
import type { TransportPreference } from '../../../src/core/transport.ts'
import { PREFERENCE } from '../../rigs/mux-gateway.ts'
import { type GrpcScript, type ScriptedGrpcOptions, ScriptedGrpcServer } from '../../rigs/scripted-grpc-server.ts'
import { opened } from '../http/opened.ts'
import { endpoint, type StackOptions, WatchedStack } from '../http/rig.ts'

export interface Item {
  sku: string
  filler?: Buffer
}

export interface Stock {
  sku: string
  left: number
  filler?: Buffer
}

export type Done = (error: grpc.ServiceError | null, value?: Stock) => void

interface Single {
  (request: Item, done: Done): grpc.ClientUnaryCall
  (request: Item, metadata: grpc.Metadata, done: Done): grpc.ClientUnaryCall
  (request: Item, metadata: grpc.Metadata, options: grpc.CallOptions, done: Done): grpc.ClientUnaryCall
}

/** As ts-proto and grpc-tools declare their clients. */
export interface Shop extends grpc.Client {
  get: Single
  take: Single
  upload(done: Done): grpc.ClientWritableStream<Item>
  upload(metadata: grpc.Metadata, done: Done): grpc.ClientWritableStream<Item>
  upload(metadata: grpc.Metadata, options: grpc.CallOptions, done: Done): grpc.ClientWritableStream<Item>
  watch(request: Item, options?: grpc.CallOptions): grpc.ClientReadableStream<Stock>
  watch(request: Item, metadata?: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<Stock>
  chat(options?: grpc.CallOptions): grpc.ClientDuplexStream<Item, Stock>
  chat(metadata?: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<Item, Stock>
}

const definition = loadSync(join(import.meta.dirname, '../../rigs/protos/shop.proto'))
const { shop } = grpc.loadPackageDefinition(definition) as unknown as { shop: { Inventory: unknown } }

interface ShopService {
  readonly Get: grpc.MethodDefinition<Item, Stock>
}

export const SHOP = shop.Inventory as GrpcClientClass<Shop> & { readonly service: ShopService }

/** The bytes of an answer. */
export function stock(sku: string, left = 1, filler?: Buffer): Buffer {
  return SHOP.service.Get.responseSerialize({ sku, left, ...(filler === undefined ? {} : { filler }) })
}

/** What a request's bytes say. */
export function itemOf(bytes: Buffer | undefined): Item {
  return SHOP.service.Get.requestDeserialize(bytes!)
}

export interface GrpcRigOptions extends StackOptions {
  settings?: Partial<GrpcTransportSettings>
  identity?: ClientIdentity
  client?: GrpcClientOptions
  onPeerRefused?: GrpcTransportParts['onPeerRefused']
  onRefusedByPeer?: GrpcTransportParts['onRefusedByPeer']
  loopbackAllowed?: boolean
  preference?: TransportPreference
  /** Of the connections. @defaultValue the system's */
  transportClock?: Clock
}

export class GrpcRig extends WatchedStack {
  readonly transport: GrpcTransport
  readonly client: GrpcClient<Shop>

  constructor(endpoints: Endpoint[], options: GrpcRigOptions = {}) {
    super(endpoints, options)
    this.transport = new GrpcTransport({
      grpc: grpc as unknown as Grpc,
      clock: options.transportClock ?? systemClock,
      identity: options.identity,
      settings: options.settings ?? {},
      onPeerRefused: options.onPeerRefused,
      onRefusedByPeer: options.onRefusedByPeer,
      preference: options.preference ?? PREFERENCE,
      ...(options.loopbackAllowed !== undefined && { loopbackAllowed: options.loopbackAllowed }),
    })
    this.client = this.another(options.client)
  }

  /** One more client of the same service. */
  another(options?: GrpcClientOptions): GrpcClient<Shop> {
    const { service, cluster, transport } = this
    // What a client asks of its destination.
    const destination = {
      service,
      cluster,
      transport,
      clock: systemClock,
      settings: { retry: this.stack().retry.settings },
      select: () => ({ stack: this.stack() }),
      unrouted: () => ({ stack: this.stack() }),
      get ready() {
        return cluster.endpoints.length > 0
      },
      onReady: (listener: () => void) => cluster.onChange(listener),
    }
    return makeGrpcClient(
      SHOP,
      destination as unknown as Destination<GrpcTransport>,
      options,
      () => destination as unknown as Destination<GrpcTransport>,
    )
  }

  close(): void {
    for (const one of this.cluster.endpoints) one.transport?.close(0)
    this.transport.close(0)
  }
}

/** Closed after the test. */
export function grpcRigOver(endpoints: (Endpoint | number)[], options?: GrpcRigOptions): GrpcRig {
  return opened(new GrpcRig(endpoints.map(grpcEndpoint), options))
}

export function grpcEndpoint(at: Endpoint | number): Endpoint {
  return typeof at === 'number' ? endpoint(at, { protocol: 'grpc' }) : at
}

export async function serveGrpc(script: GrpcScript, options?: ScriptedGrpcOptions): Promise<ScriptedGrpcServer> {
  return opened(await new ScriptedGrpcServer(script, options).listen())
}

/** Reads all there is to read and answers with it. */
export const answerWell: GrpcScript = async (call) => {
  const first = itemOf(await call.message())
  await call.messages()
  call.answer(stock(first.sku))
}

/** Accepts connections and never says a word. */
export async function muteServer(): Promise<{ readonly port: number; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const close = async (): Promise<void> => {
    for (const socket of sockets) socket.destroy()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  return opened({ port, close })
}

/** The mesh's own part of what a caller of a gRPC client gets. */
export function causeOf(error: unknown): MeshError {
  const { cause } = error as { cause?: unknown }
  if (!isMeshError(cause)) throw new Error(`expected a MeshError as cause, got ${String(cause)} of ${String(error)}`)
  return cause
}

/** The error with which it rejects. */
export async function grpcFailure(promise: Promise<unknown>): Promise<grpc.ServiceError> {
  const error = await promise.then(
    (value) => new Error(`it answered ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  )
  if (typeof (error as grpc.ServiceError).details !== 'string') throw error
  return error as grpc.ServiceError
}
