/**
 * The service of `protos/shop.proto`, loaded by `@grpc/proto-loader`, with the types that a
 * generator would write.
 */
import { fileURLToPath } from 'node:url'
import * as grpc from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

export interface Item {
  readonly sku: string
  readonly filler?: Buffer
}

export interface Stock {
  readonly sku?: string
  readonly left?: number
  readonly filler?: Buffer
}

type Answer<T> = (error: grpc.ServiceError | null, value?: T) => void

interface UnaryMethod {
  (request: Item, answer: Answer<Stock>): grpc.ClientUnaryCall
  (request: Item, metadata: grpc.Metadata, answer: Answer<Stock>): grpc.ClientUnaryCall
  (
    request: Item,
    metadata: grpc.Metadata,
    options: Partial<grpc.CallOptions>,
    answer: Answer<Stock>,
  ): grpc.ClientUnaryCall
}

interface UploadMethod {
  (answer: Answer<Stock>): grpc.ClientWritableStream<Item>
  (metadata: grpc.Metadata, answer: Answer<Stock>): grpc.ClientWritableStream<Item>
  (metadata: grpc.Metadata, options: Partial<grpc.CallOptions>, answer: Answer<Stock>): grpc.ClientWritableStream<Item>
}

interface WatchMethod {
  (request: Item, options?: Partial<grpc.CallOptions>): grpc.ClientReadableStream<Stock>
  (request: Item, metadata: grpc.Metadata, options?: Partial<grpc.CallOptions>): grpc.ClientReadableStream<Stock>
}

interface ChatMethod {
  (options?: Partial<grpc.CallOptions>): grpc.ClientDuplexStream<Item, Stock>
  (metadata: grpc.Metadata, options?: Partial<grpc.CallOptions>): grpc.ClientDuplexStream<Item, Stock>
}

export interface ShopClient extends grpc.Client {
  readonly get: UnaryMethod
  readonly take: UnaryMethod
  readonly upload: UploadMethod
  readonly watch: WatchMethod
  readonly chat: ChatMethod
}

export interface ShopHandlers {
  readonly Get?: grpc.handleUnaryCall<Item, Stock>
  readonly Take?: grpc.handleUnaryCall<Item, Stock>
  readonly Upload?: grpc.handleClientStreamingCall<Item, Stock>
  readonly Watch?: grpc.handleServerStreamingCall<Item, Stock>
  readonly Chat?: grpc.handleBidiStreamingCall<Item, Stock>
}

export const KINDS = ['get', 'upload', 'watch', 'chat'] as const
export type Kind = (typeof KINDS)[number]

export const SHOP_PROTO = fileURLToPath(new URL('./protos/shop.proto', import.meta.url))
const definition = loadSync(SHOP_PROTO)
const { Inventory } = (grpc.loadPackageDefinition(definition) as unknown as { shop: { Inventory: unknown } }).shop

/** The client class. */
export const Shop = Inventory as (new (
  address: string,
  credentials: grpc.ChannelCredentials,
  options?: Partial<grpc.ChannelOptions>,
) => ShopClient) & { readonly service: grpc.ServiceDefinition }

/** A server with these handlers; a method that has none answers with UNIMPLEMENTED. */
export function shopServer(handlers: ShopHandlers, options: grpc.ServerOptions = {}): grpc.Server {
  const server = new grpc.Server(options)
  server.addService(Shop.service, handlers as unknown as grpc.UntypedServiceImplementation)
  return server
}

/** A message that says only which item. */
export function itemBytes(sku: string): Buffer {
  const name = Buffer.from(sku)
  return Buffer.concat([Buffer.of(0x0a, name.length), name])
}

/** How a call ended and what came before: the same for all four kinds. */
export interface Ended {
  readonly code: grpc.status
  readonly details: string
  readonly metadata: grpc.Metadata
  readonly answers: readonly Stock[]
}

export interface Running {
  readonly call: grpc.ClientUnaryCall | grpc.ClientReadableStream<Stock> | grpc.ClientDuplexStream<Item, Stock>
  readonly ended: Promise<Ended>
  cancel(): void
}

/** Begins a call of any kind; `items` are sent, and then the end of them unless `open`. */
export function begin(
  client: ShopClient,
  kind: Kind | 'take',
  {
    items = [{ sku: 'a' }],
    metadata = new grpc.Metadata(),
    open = false,
    ...options
  }: { items?: readonly Item[]; metadata?: grpc.Metadata; open?: boolean } & Partial<grpc.CallOptions> = {},
): Running {
  const answers: Stock[] = []
  const { promise, resolve } = Promise.withResolvers<Ended>()
  const answered: Answer<Stock> = (_error, value) => {
    if (value !== undefined) answers.push(value)
  }
  let call: Running['call']
  if (kind === 'get' || kind === 'take') call = client[kind](items[0]!, metadata, options, answered)
  else if (kind === 'watch') call = client.watch(items[0]!, metadata, options)
  else {
    const sink = kind === 'upload' ? client.upload(metadata, options, answered) : client.chat(metadata, options)
    for (const item of items) sink.write(item)
    if (!open) sink.end()
    call = sink as Running['call']
  }
  if (kind === 'watch' || kind === 'chat') {
    const source = call as grpc.ClientReadableStream<Stock>
    source.on('data', (stock: Stock) => answers.push(stock))
    source.on('error', () => {})
  }
  // The answer arrives after the status.
  call.on('status', (status) => setImmediate(() => resolve({ ...status, answers })))
  return { call, ended: promise, cancel: () => call.cancel() }
}
