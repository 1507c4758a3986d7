import * as grpc from '@grpc/grpc-js'
import type { ServiceType } from '@protobuf-ts/runtime-rpc'
import { expectTypeOf, it } from 'vitest'
import {
  InventoryClient,
  type Item,
  type Price,
  PricesClient,
  PricesService,
  type Stock,
} from '../../../examples/grpc/shop.ts'
import type { GrpcCallOptions, GrpcClient, Mesh } from '../../../src/index.ts'
import type { GrpcServing } from '../../../src/mesh/mesh-server.ts'

// What is tested is compiled, not run: `npm run typecheck` is the judge. Each test also runs, to be
// seen in the list.
const check = (_types: (mesh: Mesh) => void): void => {}

type Options = GrpcCallOptions | undefined
type Requests<T> = Iterable<T> | AsyncIterable<T>

it('a class of ts-proto keeps its methods, and has them as promises of its own messages', () => {
  check((mesh) => {
    const prices = mesh.grpc(PricesClient, 'prices')
    expectTypeOf(prices).toEqualTypeOf<GrpcClient<PricesClient>>()
    prices.quote({ sku: 'a' }, (error, price) => {
      expectTypeOf(error).toEqualTypeOf<grpc.ServiceError | null>()
      expectTypeOf(price).toEqualTypeOf<Price>()
    })
    expectTypeOf(prices.watch({ sku: 'a' })).toEqualTypeOf<grpc.ClientReadableStream<Price>>()
    expectTypeOf(prices.close).toEqualTypeOf<() => void>()
    const { promises } = prices
    expectTypeOf<keyof typeof promises>().toEqualTypeOf<'quote' | 'sum' | 'watch' | 'bargain'>()
    expectTypeOf(promises.quote).parameters.toEqualTypeOf<[request: Item, options?: Options]>()
    expectTypeOf(promises.quote).returns.toEqualTypeOf<Promise<Price>>()
    expectTypeOf(promises.sum).parameters.toEqualTypeOf<[requests: Requests<Item>, options?: Options]>()
    expectTypeOf(promises.sum).returns.toEqualTypeOf<Promise<Price>>()
    expectTypeOf(promises.watch).parameters.toEqualTypeOf<[request: Item, options?: Options]>()
    expectTypeOf(promises.watch).returns.toEqualTypeOf<AsyncGenerator<Price, void, void>>()
    expectTypeOf(promises.bargain).parameters.toEqualTypeOf<[requests: Requests<Price>, options?: Options]>()
    expectTypeOf(promises.bargain).returns.toEqualTypeOf<AsyncGenerator<Price, void, void>>()
    // @ts-expect-error: a message of another kind
    void promises.quote({ name: 'a' })
    // @ts-expect-error: no such method
    void promises.quota
    expectTypeOf(mesh.grpc(InventoryClient, 'inventory').promises.get).returns.toEqualTypeOf<Promise<Stock>>()
  })
})

/** As grpc_tools_node_protoc_ts writes them: classes, the longest overload last. */
declare class ToolsClient extends grpc.Client {
  constructor(address: string, credentials: grpc.ChannelCredentials, options?: Partial<grpc.ClientOptions>)
  quote(request: Item, callback: (error: grpc.ServiceError | null, response: Price) => void): grpc.ClientUnaryCall
  quote(
    request: Item,
    metadata: grpc.Metadata,
    options: Partial<grpc.CallOptions>,
    callback: (error: grpc.ServiceError | null, response: Price) => void,
  ): grpc.ClientUnaryCall
  watch(request: Item, options?: Partial<grpc.CallOptions>): grpc.ClientReadableStream<Price>
  watch(request: Item, metadata?: grpc.Metadata, options?: Partial<grpc.CallOptions>): grpc.ClientReadableStream<Price>
}

/**
 * As proto-loader-gen-types writes them: each name in two spellings, the shortest overload last.
 */
interface LoaderClient extends grpc.Client {
  Quote(
    argument: Item,
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: grpc.requestCallback<Price>,
  ): grpc.ClientUnaryCall
  Quote(argument: Item, callback: grpc.requestCallback<Price>): grpc.ClientUnaryCall
  sum(
    metadata: grpc.Metadata,
    options: grpc.CallOptions,
    callback: grpc.requestCallback<Price>,
  ): grpc.ClientWritableStream<Item>
  sum(callback: grpc.requestCallback<Price>): grpc.ClientWritableStream<Item>
  watch(argument: Item, metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientReadableStream<Price>
  watch(argument: Item, options?: grpc.CallOptions): grpc.ClientReadableStream<Price>
  bargain(metadata: grpc.Metadata, options?: grpc.CallOptions): grpc.ClientDuplexStream<Price, Stock>
  bargain(options?: grpc.CallOptions): grpc.ClientDuplexStream<Price, Stock>
}

/** As grpc_tools_node_protoc_ts writes them. */
interface ToolsService extends grpc.ServiceDefinition<grpc.UntypedServiceImplementation> {
  quote: grpc.MethodDefinition<Item, Price>
}

it('a channel takes the definitions of all generators, alone and as a list', () => {
  check((mesh) => {
    const tools = undefined as unknown as ToolsService
    const protobufTs = undefined as unknown as ServiceType
    const generic = {
      name: 'Prices',
      fullName: 'shop.Prices',
      methods: { quote: { name: 'Quote', requestStream: false, responseStream: false, options: {} } },
    } as const
    mesh.grpcChannel('prices', { definitions: PricesService })
    mesh.grpcChannel('prices', { definitions: [PricesService, tools, protobufTs, generic] })
    expectTypeOf(mesh.grpcChannel<grpc.Channel>('prices')).toEqualTypeOf<grpc.Channel>()
    // @ts-expect-error: messages are no services
    mesh.grpcChannel('prices', { definitions: { sku: 'a' } })
    // @ts-expect-error: a class; its `service` is the definition
    mesh.grpcChannel('prices', { definitions: PricesClient })
  })
})

it('classes of grpc-tools and of proto-loader-gen-types are understood, whatever the order of their overloads', () => {
  check((mesh) => {
    const tools = mesh.grpc(ToolsClient, 'prices').promises
    expectTypeOf(tools.quote).parameters.toEqualTypeOf<[request: Item, options?: Options]>()
    expectTypeOf(tools.quote).returns.toEqualTypeOf<Promise<Price>>()
    expectTypeOf(tools.watch).returns.toEqualTypeOf<AsyncGenerator<Price, void, void>>()
    const Loader = undefined as unknown as new (
      address: string,
      credentials: grpc.ChannelCredentials,
      options?: Partial<grpc.ChannelOptions>,
    ) => LoaderClient
    const { promises } = mesh.grpc(Loader, 'prices')
    expectTypeOf(promises.Quote).parameters.toEqualTypeOf<[request: Item, options?: Options]>()
    expectTypeOf(promises.Quote).returns.toEqualTypeOf<Promise<Price>>()
    expectTypeOf(promises.sum).parameters.toEqualTypeOf<[requests: Requests<Item>, options?: Options]>()
    expectTypeOf(promises.sum).returns.toEqualTypeOf<Promise<Price>>()
    expectTypeOf(promises.watch).returns.toEqualTypeOf<AsyncGenerator<Price, void, void>>()
    expectTypeOf(promises.bargain).parameters.toEqualTypeOf<[requests: Requests<Price>, options?: Options]>()
    expectTypeOf(promises.bargain).returns.toEqualTypeOf<AsyncGenerator<Stock, void, void>>()
  })
})

it('a class that was loaded without types needs no cast, and neither does a server', () => {
  check((mesh) => {
    const Loaded = grpc.makeClientConstructor({}, 'shop.Prices')
    const prices = mesh.grpc(Loaded, 'prices')
    prices.Quote({ sku: 'a' }, (_error: grpc.ServiceError | null, price: Price) => price.cents)
    expectTypeOf(prices.promises.Quote({ sku: 'a' }, { timeout: '1s' })).toBeAny()
    // biome-ignore lint/suspicious/noExplicitAny: what JavaScript, and `as any`, come with
    expectTypeOf(mesh.grpc(Loaded as any, 'prices')).toBeAny()
    expectTypeOf<grpc.Server>().toExtend<GrpcServing>()
  })
})
