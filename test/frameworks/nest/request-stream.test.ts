import { once } from 'node:events'
import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type ChannelCredentials, type Client, type ClientDuplexStream, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import { type CanActivate, Controller, Inject, UseGuards } from '@nestjs/common'
import { type ClientGrpc, ClientsModule, GrpcStreamMethod, type MicroserviceOptions } from '@nestjs/microservices'
import {
  concatWith,
  filter,
  finalize,
  first,
  firstValueFrom,
  from,
  lastValueFrom,
  map,
  merge,
  NEVER,
  type Observable,
  of,
  Subject,
  switchMap,
  throwError,
  timer,
  toArray,
} from 'rxjs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Mesh, MeshModule } from '../../../src/frameworks/nest/index.ts'
import { MeshClientGrpc, MeshServerGrpc } from '../../../src/frameworks/nest/microservices/index.ts'
import { requestStream } from '../../../src/frameworks/nest/microservices/request-stream.ts'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'
import { createFrom, joining } from './rig.ts'

const PROTO = { package: 'shop', protoPath: `${import.meta.dirname}/shop.proto` }
const SKUS = Array.from({ length: 300 }, (_, i) => String(i))

interface Item {
  sku: string
}
interface StockService {
  sum(items: Observable<Item>): Observable<Item>
  chat(items: Observable<Item>): Observable<Item>
}
interface StockClient extends Client {
  chat(): ClientDuplexStream<Item, Item>
}
const { shop } = loadPackageDefinition(loadSync(PROTO.protoPath)) as unknown as {
  shop: { Stock: new (address: string, credentials: ChannelCredentials) => StockClient }
}

const skusOf = (items: Observable<Item>): Promise<string[]> =>
  lastValueFrom(
    items.pipe(
      map(({ sku }) => sku),
      toArray(),
    ),
  )

let testMesh: TestMesh
beforeAll(async () => {
  testMesh = await startTestMesh()
})
afterAll(() => testMesh.close())

let admit: () => Promise<boolean>
class Guard implements CanActivate {
  canActivate(): Promise<boolean> {
    return admit()
  }
}

let listening = 0
@Controller()
@UseGuards(Guard)
class Stock {
  @GrpcStreamMethod('Stock', 'Chat')
  chat(items: Observable<Item>): Observable<Item> {
    listening += 1
    return items.pipe(
      map(({ sku }) => ({ sku })),
      finalize(() => {
        listening -= 1
      }),
    )
  }

  @GrpcStreamMethod('Stock', 'Sum')
  sum(): Observable<Item> {
    return of({ sku: 'closed' })
  }
}

class Orders {
  constructor(@Inject('STOCK') readonly client: ClientGrpc) {}
}

test.each(['auto', 'http1'] as const)(
  'with transport %s, a handler gets a request stream in order, however long its guard takes',
  async (transport) => {
    const service = `inventory-${transport}`
    const join = (name: string) => MeshModule.forRoot(joining(testMesh, name, { transport }))
    const app = await createFrom({ imports: [join(service)], controllers: [Stock] })
    app.connectMicroservice<MicroserviceOptions>({ strategy: new MeshServerGrpc({ mesh: app.get(Mesh), ...PROTO }) })
    await app.startAllMicroservices()
    const useFactory = (mesh: Mesh) => ({ customClass: MeshClientGrpc, options: { mesh, service, ...PROTO } })
    const clients = ClientsModule.registerAsync([{ name: 'STOCK', inject: [Mesh], useFactory }])
    const orders = await createFrom({ imports: [join('orders'), clients], providers: [Orders] })
    const ofNest = orders.get(Orders).client.getService<StockService>('Stock')
    const stock = orders.get(Mesh).grpc(shop.Stock, service)

    const guards = [
      async () => true,
      () => nextTurn(true),
      () => new Promise<true>((done) => setTimeout(done, 20, true)),
    ]
    for (const guard of guards) {
      admit = guard
      const call = stock.chat()
      const echoed: string[] = []
      call.on('data', ({ sku }: Item) => echoed.push(sku))
      for (const sku of SKUS) {
        call.write({ sku })
        if (Number(sku) % 7 === 0) await nextTurn()
      }
      call.end()
      await once(call, 'end')
      expect(echoed).toEqual(SKUS)
      expect(await skusOf(ofNest.chat(from(SKUS).pipe(map((sku) => ({ sku })))))).toEqual(SKUS)
    }

    // An answer without the messages ends the call, and a cancelled call leaves no subscription.
    const unending = from(SKUS).pipe(
      map((sku) => ({ sku })),
      concatWith(NEVER),
    )
    expect(await lastValueFrom(ofNest.sum(unending))).toMatchObject({ sku: 'closed' })
    expect(await firstValueFrom(ofNest.chat(unending))).toMatchObject({ sku: '0' })
    await expect.poll(() => listening).toBe(0)

    // An error of the requests is the error of the call, at once or later.
    const failing = throwError(() => new Error('no more items'))
    for (const method of ['sum', 'chat'] as const) {
      for (const items of [failing, of({ sku: '0' }).pipe(concatWith(timer(1), failing))]) {
        await expect(lastValueFrom(ofNest[method](items as Observable<Item>))).rejects.toThrow('no more items')
      }
    }
    await expect.poll(() => listening).toBe(0)
  },
)

/** The messages 0 to 99, as a call of grpc-js gives them to Nest. */
function stream(): { call: Readable; messages: Observable<number> } {
  const call = Readable.from(Array.from({ length: 100 }, (_, i) => i))
  const source = new Subject<number>()
  const messages = requestStream(source, call)
  call.on('data', (message) => source.next(message))
  call.on('end', () => source.complete())
  call.on('error', (reason) => source.error(reason))
  return { call, messages }
}
const ALL = Array.from({ length: 100 }, (_, i) => i)

test('messages wait in the caller while nothing listens to them', async () => {
  const { call, messages } = stream()
  await once(call, 'pause')
  expect(await firstValueFrom(messages)).toBe(0)
  // Also after a first listener that took one.
  await nextTurn()
  expect(await lastValueFrom(messages.pipe(toArray()))).toEqual(ALL.slice(1))
  expect(await lastValueFrom(messages.pipe(toArray()))).toEqual([])
})

test('listeners of one turn get all messages, and one that follows another goes on behind it', async () => {
  const { messages } = stream()
  const halves = [0, 1].map((rest) => messages.pipe(filter((message) => message % 2 === rest)))
  expect(await lastValueFrom(merge(...halves).pipe(toArray()))).toEqual(ALL)
  const greeted = stream().messages
  const others = greeted.pipe(
    first(),
    switchMap(() => greeted),
    toArray(),
  )
  expect(await lastValueFrom(others)).toEqual(ALL.slice(1))
})

test('an error comes behind the messages before it', async () => {
  const { call, messages } = stream()
  call.once('pause', () => call.destroy(new Error('reset')))
  await new Promise((resolve) => call.once('close', resolve))
  const got: number[] = []
  await expect(lastValueFrom(messages.pipe(map((message) => got.push(message))))).rejects.toThrow('reset')
  expect(got).toEqual(ALL.slice(0, got.length))
  expect(got.length).toBeGreaterThan(0)
})

test('a handler that reads the call itself is not held up', async () => {
  const { call } = stream()
  const read: number[] = []
  call.on('data', (message) => read.push(message))
  await once(call, 'end')
  expect(read).toEqual(ALL)
})
