import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Controller, forwardRef, Get, Inject, Injectable, Module, Param, Scope } from '@nestjs/common'
import { NestFactory, REQUEST } from '@nestjs/core'
import { Test } from '@nestjs/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  CurrentCall,
  getMeshClientToken,
  type HttpClient,
  Mesh,
  MeshClient,
  MeshModule,
  serveNest,
} from '../../../src/frameworks/nest/index.ts'
import type { MeshOptions } from '../../../src/index.ts'
import { circuitBreaker, retry } from '../../../src/resilience/index.ts'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'
import { closeApp, createApp, createFrom, joining } from './rig.ts'

let testMesh: TestMesh
let asked = 0
beforeAll(async () => {
  testMesh = await startTestMesh()
  await testMesh.serve('inventory', (request, response) => {
    asked += 1
    response.end(JSON.stringify({ path: request.url, left: 7 }))
  })
})
afterAll(() => testMesh.close())

@Injectable()
class Stock {
  constructor(
    private readonly mesh: Mesh,
    @MeshClient('inventory') readonly inventory: HttpClient,
  ) {}

  async left(sku: string): Promise<object> {
    const answer = await this.inventory.get(`/items/${sku}`)
    return { by: this.mesh.service, ...((await answer.json()) as object) }
  }
}

@Controller('items')
class Items {
  constructor(private readonly stock: Stock) {}

  @Get(':sku')
  async find(@Param('sku') sku: string, @CurrentCall() call?: CurrentCall): Promise<object> {
    return { for: call?.peer?.service, ...(await this.stock.left(sku)) }
  }
}

test('a controller is served in the mesh, and its provider calls another service by name', async () => {
  const app = await createApp(testMesh, 'orders', { controllers: [Items], providers: [Stock] })
  app.setGlobalPrefix('api')
  await serveNest(app)
  const checkout = await testMesh.join('checkout')
  const answer = await checkout.fetch('http://orders/api/items/a')
  expect(await answer.json()).toEqual({ for: 'checkout', by: 'orders', path: '/items/a', left: 7 })
})

test('the mesh and a client are the same in every module, and options make another client', async () => {
  @Injectable()
  class Feature {
    constructor(
      readonly mesh: Mesh,
      @MeshClient('inventory') readonly shared: HttpClient,
      @MeshClient('inventory', { filters: [(request, call, next) => next(request, call)] })
      readonly filtered: HttpClient,
    ) {}
  }
  @Module({ providers: [Feature], exports: [Feature] })
  class FeatureModule {}
  const app = await createApp(testMesh, 'orders', { imports: [FeatureModule], providers: [Stock] })
  const feature = app.get(Feature, { strict: false })
  expect(feature.mesh).toBe(app.get(Mesh))
  expect(feature.shared).toBe(app.get(Stock).inventory)
  expect(feature.filtered).not.toBe(feature.shared)
  expect((await feature.filtered.get('/')).status).toBe(200)
})

test('providers that need each other, and those of one request, have clients', async () => {
  @Injectable()
  class Chicken {
    constructor(
      @Inject(forwardRef(() => Egg)) readonly egg: object,
      @MeshClient('inventory') readonly inventory: HttpClient,
    ) {}
  }
  @Injectable()
  class Egg {
    constructor(
      @Inject(forwardRef(() => Chicken)) readonly chicken: object,
      @MeshClient('inventory') readonly inventory: HttpClient,
    ) {}
  }
  @Injectable({ scope: Scope.REQUEST })
  class OfRequest {
    constructor(
      @Inject(REQUEST) private readonly request: { url: string },
      private readonly mesh: Mesh,
    ) {}
    async ask(): Promise<unknown> {
      return (await this.mesh.fetch(`http://inventory${this.request.url}`)).json()
    }
  }
  @Controller()
  class Root {
    constructor(private readonly ofRequest: OfRequest) {}
    @Get('own')
    own(): Promise<unknown> {
      return this.ofRequest.ask()
    }
  }
  const app = await createApp(testMesh, 'scoped', { controllers: [Root], providers: [Chicken, Egg, OfRequest] })
  expect(app.get(Chicken).inventory).toBe(app.get(Egg).inventory)
  await serveNest(app)
  const answer = await (await testMesh.join('checkout')).fetch('http://scoped/own')
  expect(await answer.json()).toEqual({ path: '/own', left: 7 })
})

test('policies of inmesh/resilience stand beside the decorators of Nest', async () => {
  let failures = 0
  @Injectable()
  class Flaky {
    @retry({ attempts: 3, backoff: { base: 1 } })
    async quote(): Promise<number> {
      failures += 1
      if (failures < 3) throw new Error('not yet')
      return 7
    }
  }
  @Controller('quotes')
  class Quotes {
    constructor(private readonly flaky: Flaky) {}
    @Get(':sku')
    @circuitBreaker()
    async quote(@Param('sku') sku: string): Promise<object> {
      return { sku, cents: await this.flaky.quote() }
    }
  }
  const app = await createApp(testMesh, 'quotes', { controllers: [Quotes], providers: [Flaky] })
  await serveNest(app)
  const answer = await (await testMesh.join('checkout')).fetch('http://quotes/quotes/a')
  expect(await answer.json()).toEqual({ sku: 'a', cents: 7 })
  expect(failures).toBe(3)
})

test('the options come from a factory, and what it rejects with ends the start', async () => {
  const SERVICE = Symbol('service')
  @Module({ providers: [{ provide: SERVICE, useValue: 'from-factory' }], exports: [SERVICE] })
  class ConfigModule {}
  const root = MeshModule.forRootAsync({
    imports: [ConfigModule],
    inject: [SERVICE],
    useFactory: async (service: string) => joining(testMesh, service),
  })
  const app = await createFrom({ imports: [root] })
  expect(app.get(Mesh).service).toBe('from-factory')

  const useFactory = (): Promise<MeshOptions> => Promise.reject(new Error('no configuration'))
  await expect(createFrom({ imports: [MeshModule.forRootAsync({ useFactory })] })).rejects.toThrow('no configuration')
  const mistyped = MeshModule.forRoot({ ...joining(testMesh, 'orders'), drainTimeot: 1 } as MeshOptions)
  await expect(createFrom({ imports: [mistyped] })).rejects.toThrow('drainTimeout')
  expect(() => MeshModule.forRootAsync({} as never)).toThrow('expected useFactory, useClass or useExisting')
})

test('a module without options, and a second one, are refused before anything joins', async () => {
  await expect(createFrom({ imports: [MeshModule] })).rejects.toThrow("import MeshModule.forRoot({ service: '…' })")
  const roots = ['one', 'two'].map((service) => MeshModule.forRoot(joining(testMesh, service)))
  await expect(createFrom({ imports: roots })).rejects.toThrow('MeshModule.forRoot() is imported twice')
  // The same module in two places is one.
  const root = MeshModule.forRoot(joining(testMesh, 'orders'))
  @Module({ imports: [root, MeshModule], providers: [Stock] })
  class Feature {}
  const app = await createFrom({ imports: [root, Feature] })
  expect(await app.get(Stock, { strict: false }).left('a')).toMatchObject({ by: 'orders' })
})

test('an application without a server joins, and leaves when it is closed', async () => {
  @Module({ imports: [MeshModule.forRoot(joining(testMesh, 'worker'))] })
  class Worker {}
  const app = await NestFactory.createApplicationContext(Worker, { logger: false, abortOnError: false })
  const mesh = app.get(Mesh)
  expect((await mesh.fetch('http://inventory/')).status).toBe(200)
  await app.close()
  await expect(mesh.fetch('http://inventory/')).rejects.toMatchObject({ code: 'closed' })
})

test('a start that waits for the registry says so, and ends with the reason', async () => {
  const lines: string[] = []
  const logger = { log: () => {}, error: () => {}, warn: (message: string) => lines.push(message) }
  const options = joining(testMesh, 'lonely', { registry: 'https://127.0.0.1:1', joinTimeout: 2_500 })
  const compiling = Test.createTestingModule({ imports: [MeshModule.forRoot(options)] })
    .setLogger(logger)
    .compile()
  await expect(compiling).rejects.toMatchObject({ code: 'registry-unavailable' })
  expect(lines).toEqual([
    'Waiting for the registry at https://127.0.0.1:1 to join the mesh as lonely, for 2500ms at most',
  ])
})

test('a start from the disk says that no registry has answered', async () => {
  const stateDir = await mkdtemp(join(tmpdir(), 'inmesh-nest-'))
  await closeApp(await createFrom({ imports: [MeshModule.forRoot(joining(testMesh, 'kept', { stateDir }))] }))
  const lines: string[] = []
  const logger = { log: () => {}, error: () => {}, warn: (message: string) => lines.push(message) }
  const again = joining(testMesh, 'kept', { stateDir, registry: 'https://127.0.0.1:1', joinTimeout: 500 })
  const app = await createFrom({ imports: [MeshModule.forRoot(again)] }, undefined, { logger })
  expect(app.get(Mesh).stale).toBe(true)
  expect(lines).toEqual([
    'Started as kept with what it knew before: no registry at https://127.0.0.1:1 has answered yet',
  ])
  await closeApp(app)
  await rm(stateDir, { recursive: true })
})

test('a test replaces one client, or the whole mesh by that of inmesh/testing', async () => {
  const before = asked
  const fake = { get: async () => ({ json: async () => ({ left: 0 }) }) }
  const metadata = { imports: [MeshModule.forRoot()], providers: [Stock] }
  const member = await testMesh.join('orders')
  const replaced = await Test.createTestingModule(metadata)
    .overrideProvider(Mesh)
    .useValue(member)
    .overrideProvider(getMeshClientToken('inventory'))
    .useValue(fake)
    .compile()
  expect(await replaced.get(Stock).left('a')).toEqual({ by: 'orders', left: 0 })
  expect(asked).toBe(before)
  await replaced.close()

  // A fake of the whole mesh makes clients, too.
  const fetched = { http: () => fake, grpc: () => fake }
  const faked = await Test.createTestingModule({ imports: [MeshModule.forRoot()] })
    .overrideProvider(Mesh)
    .useValue(fetched)
    .compile()
  expect(faked.get(Mesh)).toBe(fetched)
  await faked.close()

  const real = await Test.createTestingModule(metadata)
    .overrideProvider(Mesh)
    .useValue(await testMesh.join('orders'))
    .compile()
  expect(await real.get(Stock).left('a')).toEqual({ by: 'orders', path: '/items/a', left: 7 })
  await real.close()
})
