import {
  type ChannelCredentials,
  type Client,
  type ClientUnaryCall,
  loadPackageDefinition,
  type requestCallback,
} from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { Controller, Inject, Injectable, Module, type OnModuleDestroy } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import {
  type AsyncMicroserviceOptions,
  type ClientGrpc,
  ClientsModule,
  GrpcMethod,
  GrpcStreamMethod,
  type MicroserviceOptions,
  RpcException,
} from '@nestjs/microservices'
import { firstValueFrom, from, map, type Observable, of, toArray } from 'rxjs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type GrpcClient, Mesh, MeshGrpcClient, MeshModule, serveNest } from '../../../src/frameworks/nest/index.ts'
import { MeshClientGrpc, MeshServerGrpc } from '../../../src/frameworks/nest/microservices/index.ts'
import { currentCall } from '../../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'
import { closeApp, createApp, joining } from './rig.ts'

const PROTO = { package: 'shop', protoPath: `${import.meta.dirname}/shop.proto` }

interface Item {
  sku: string
}
interface Level {
  sku: string
  left: number
  for: string
}
interface StockService {
  get(item: Item): Observable<Level>
  watch(item: Item): Observable<Level>
  sum(items: Observable<Item>): Observable<Level>
  chat(items: Observable<Item>): Observable<Level>
}

interface StockClient extends Client {
  get(item: Item, callback: requestCallback<Level>): ClientUnaryCall
}
const { shop } = loadPackageDefinition(loadSync(PROTO.protoPath)) as unknown as {
  shop: { Stock: new (address: string, credentials: ChannelCredentials) => StockClient }
}

let testMesh: TestMesh
beforeAll(async () => {
  testMesh = await startTestMesh()
})
afterAll(() => testMesh.close())

function level(sku: string, left: number): Level {
  return { sku, left, for: currentCall()?.peer?.service ?? 'a stranger' }
}

@Injectable()
class Shelves implements OnModuleDestroy {
  open = true
  onModuleDestroy(): void {
    this.open = false
  }
}

@Controller()
class StockController {
  constructor(private readonly shelves: Shelves) {}

  @GrpcMethod('Stock', 'Get')
  async get({ sku }: Item): Promise<Level> {
    if (sku === 'none') throw new RpcException({ code: 5, message: 'no such shelf' })
    await new Promise((resolve) => setTimeout(resolve, 10))
    if (!this.shelves.open) throw new Error('the shelves are gone')
    return level(sku, 7)
  }

  @GrpcMethod('Stock', 'Watch')
  watch({ sku }: Item): Observable<Level> {
    return from([3, 2, 1].map((left) => level(sku, left)))
  }

  @GrpcStreamMethod('Stock', 'Sum')
  sum(items: Observable<Item>): Observable<Level> {
    const caller = level('', 0).for
    return items.pipe(
      toArray(),
      map((all) => ({ sku: all.map(({ sku }) => sku).join(), left: all.length, for: caller })),
    )
  }

  @GrpcStreamMethod('Stock', 'Chat')
  chat(items: Observable<Item>): Observable<Level> {
    return items.pipe(map(({ sku }) => ({ sku, left: 1, for: '' })))
  }
}

async function startInventory(service: string) {
  const app = await createApp(testMesh, service, { controllers: [StockController], providers: [Shelves] })
  const strategy = new MeshServerGrpc({ mesh: app.get(Mesh), ...PROTO })
  app.connectMicroservice<MicroserviceOptions>({ strategy })
  await app.startAllMicroservices()
  return app
}

@Injectable()
class Orders {
  readonly stock: StockService
  constructor(@Inject('STOCK') client: ClientGrpc) {
    this.stock = client.getService<StockService>('Stock')
  }
}

async function createOrders(service: string): Promise<StockService> {
  const clients = ClientsModule.registerAsync([
    {
      name: 'STOCK',
      inject: [Mesh],
      useFactory: (mesh: Mesh) => ({ customClass: MeshClientGrpc, options: { mesh, service, ...PROTO } }),
    },
  ])
  const app = await createApp(testMesh, 'orders', { imports: [clients], providers: [Orders] })
  return app.get(Orders).stock
}

test('all four kinds of call go through the mesh, from a client of Nest to a controller of Nest', async () => {
  await startInventory('inventory')
  const stock = await createOrders('inventory')
  expect(await firstValueFrom(stock.get({ sku: 'a' }))).toEqual({ sku: 'a', left: 7, for: 'orders' })
  const watched = await firstValueFrom(stock.watch({ sku: 'a' }).pipe(toArray()))
  expect(watched.map(({ left }) => left)).toEqual([3, 2, 1])
  expect(await firstValueFrom(stock.sum(of({ sku: 'a' }, { sku: 'b' })))).toEqual({
    sku: 'a,b',
    left: 2,
    for: 'orders',
  })
  const said = await firstValueFrom(stock.chat(of({ sku: 'a' }, { sku: 'b' })).pipe(toArray()))
  expect(said.map(({ sku }) => sku)).toEqual(['a', 'b'])
})

test('a status of the handler reaches the caller, and one of the mesh has its error as cause', async () => {
  await startInventory('inventory')
  const stock = await createOrders('inventory')
  await expect(firstValueFrom(stock.get({ sku: 'none' }))).rejects.toMatchObject({ code: 5, details: 'no such shelf' })
  const nowhere = await createOrders('nowhere')
  await expect(firstValueFrom(nowhere.get({ sku: 'a' }))).rejects.toMatchObject({
    code: 14,
    cause: { code: 'no-endpoints', service: 'nowhere' },
  })
})

test('a generated client is injected', async () => {
  await startInventory('inventory')
  @Injectable()
  class Reports {
    constructor(
      @MeshGrpcClient(shop.Stock, 'inventory', { idempotent: true }) readonly own: GrpcClient<StockClient>,
      @MeshGrpcClient(shop.Stock, 'inventory') readonly stock: GrpcClient<StockClient>,
    ) {}
  }
  const reports = (await createApp(testMesh, 'reports', { providers: [Reports] })).get(Reports)
  expect(reports.own).not.toBe(reports.stock)
  expect(await reports.stock.promises.get({ sku: 'a' })).toMatchObject({ left: 7, for: 'reports' })
})

test('closing under load loses no call, of an application that serves HTTP and gRPC', async () => {
  const [leaving] = await Promise.all([startInventory('busy'), startInventory('busy')])
  await serveNest(leaving!)
  const client = (await testMesh.join('checkout')).grpc(shop.Stock, 'busy')
  let left = false
  let answered = 0
  const load = async (): Promise<void> => {
    for (let after = 0; after < 5; after += left ? 1 : 0) {
      expect(await client.promises.get({ sku: 'a' })).toMatchObject({ left: 7 })
      answered += 1
    }
  }
  const loads = Promise.all(Array.from({ length: 10 }, load))
  await new Promise((resolve) => setTimeout(resolve, 100))
  await closeApp(leaving!)
  left = true
  await loads
  expect(answered).toBeGreaterThan(50)
})

test('an application that serves gRPC alone gets its mesh from a factory', async () => {
  @Module({
    imports: [MeshModule.forRoot(joining(testMesh, 'alone'))],
    controllers: [StockController],
    providers: [Shelves],
  })
  class Alone {}
  const useFactory = (mesh: Mesh) => ({ strategy: new MeshServerGrpc({ mesh, ...PROTO }) })
  const options = { inject: [Mesh], useFactory, logger: false as const, abortOnError: false }
  const app = await NestFactory.createMicroservice<AsyncMicroserviceOptions>(Alone, options)
  await app.listen()
  const client = (await testMesh.join('checkout')).grpc(shop.Stock, 'alone')
  expect(await client.promises.get({ sku: 'a' })).toMatchObject({ left: 7, for: 'checkout' })
  const late = client.promises.get({ sku: 'a' })
  await app.close()
  expect(await late).toMatchObject({ left: 7 })
})

test('options that are mistyped or without effect are refused with what to write', async () => {
  const mesh = await testMesh.join('orders')
  const make = (options: object) => () => new MeshServerGrpc({ mesh, ...PROTO, ...options })
  expect(make({ url: '0.0.0.0:50051' })).toThrow('url: would have no effect: use `serve: { port }`; the mesh listens')
  expect(make({ credentials: {} })).toThrow("credentials: would have no effect: mTLS is the mesh's")
  expect(make({ serv: { port: 9090 } })).toThrow("serv: unknown key; did you mean 'serve'?")
  expect(make({ mesh: undefined })).toThrow('mesh: expected the mesh, got undefined')
  const client = (options: object) => () => new MeshClientGrpc({ mesh, service: 'inventory', ...PROTO, ...options })
  expect(client({ url: 'inventory:50051' })).toThrow('url: would have no effect')
  expect(client({ maxReceiveMessageLength: 1 })).toThrow('use `client: { maxReceiveMessageBytes }`')
  expect(client({ service: undefined, servce: 'inventory' })).toThrow("servce: unknown key; did you mean 'service'?")
  expect(client({ service: undefined })).toThrow('service: expected the name of a service, got undefined')
})
