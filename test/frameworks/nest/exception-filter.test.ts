import type { ServerResponse } from 'node:http'
import {
  type ArgumentsHost,
  Catch,
  Controller,
  type ExceptionFilter,
  Get,
  type INestApplication,
  Inject,
  Logger,
  NotFoundException,
  Param,
  Res,
} from '@nestjs/common'
import { type AbstractHttpAdapter, APP_FILTER } from '@nestjs/core'
import { type ClientGrpc, ClientsModule, GrpcMethod, type MicroserviceOptions } from '@nestjs/microservices'
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import axios from 'axios'
import { firstValueFrom, type Observable } from 'rxjs'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import {
  type HttpClient,
  Mesh,
  MeshClient,
  MeshExceptionFilter,
  serveNest,
} from '../../../src/frameworks/nest/index.ts'
import { MeshClientGrpc, MeshServerGrpc } from '../../../src/frameworks/nest/microservices/index.ts'
import { MeshError } from '../../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'
import { createApp } from './rig.ts'

const PROTO = { package: 'shop', protoPath: `${import.meta.dirname}/shop.proto` }
const lost = (): MeshError => new MeshError('10.0.0.7 is gone', { code: 'no-endpoints', service: 'inventory' })

let testMesh: TestMesh
beforeAll(async () => {
  testMesh = await startTestMesh()
  await testMesh.serve('answering', (request, response) => {
    response.statusCode = Number(request.url?.slice(1))
    response.end()
  })
})
afterAll(() => testMesh.close())

@Controller()
class Failing {
  constructor(
    private readonly mesh: Mesh,
    @MeshClient('nowhere') private readonly nowhere: HttpClient,
  ) {}

  @Get('gone')
  gone(): Promise<unknown> {
    return this.nowhere.get('/', { timeout: '300ms' })
  }

  @Get('wrapped')
  wrapped(): never {
    throw new Error('request failed', { cause: lost() })
  }

  @Get('answered/:status')
  answered(@Param('status') status: string): Promise<unknown> {
    return axios.get(`http://answering.mesh/${status}`, { httpAgent: this.mesh.agent(), proxy: false })
  }

  @Get('missing')
  missing(): never {
    throw new NotFoundException('no such item')
  }

  @Get('begun')
  begun(@Res() response: ServerResponse | { raw: ServerResponse }): never {
    const raw = 'raw' in response ? response.raw : response
    raw.writeHead(200, { 'content-type': 'text/plain' })
    raw.write('a part')
    throw lost()
  }

  @GrpcMethod('Stock', 'Get')
  get({ sku }: { sku: string }): never {
    throw sku === 'late' ? new MeshError('too late', { code: 'deadline-exceeded' }) : lost()
  }
}

const GLOBAL = { provide: APP_FILTER, useValue: new MeshExceptionFilter() }

describe.each<[string, () => AbstractHttpAdapter]>([
  ['Express', () => new ExpressAdapter()],
  ['Fastify', () => new FastifyAdapter() as unknown as AbstractHttpAdapter],
])('over %s', (_name, adapter) => {
  let app: INestApplication
  let client: HttpClient
  async function serve(service: string, filter = GLOBAL): Promise<void> {
    app = await createApp(testMesh, service, { controllers: [Failing], providers: [filter] }, adapter())
    await serveNest(app)
    client = (await testMesh.join('checkout')).http(service)
  }

  test('an error of the mesh, and one that it caused, is a problem document that names nothing inside', async () => {
    await serve('failing')
    const logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue()
    onTestFinished(() => logged.mockRestore())
    const gone = await client.get('/gone', { retry: false })
    expect([503, 504]).toContain(gone.status)
    expect(gone.headers.get('content-type')).toMatch(/^application\/problem\+json/)
    const wrapped = await client.get('/wrapped', { retry: false })
    expect(wrapped.status).toBe(503)
    expect(logged.mock.calls.at(-1)).toEqual(['request failed'])
    expect(await wrapped.json()).toEqual({
      type: 'urn:inmesh:problem:dependency-unavailable',
      title: 'A service that this one needs is unavailable',
      status: 503,
    })
    for (const [status, ours] of [
      [404, 502],
      [500, 502],
      [503, 503],
    ]) {
      expect((await client.get(`/answered/${status}`, { retry: false })).status).toBe(ours)
    }
    const missing = await client.get('/missing')
    expect(await missing.json()).toMatchObject({ statusCode: 404, message: 'no such item' })
  })

  test('with `expose` it says what failed, and an answer that had begun is cut off', async () => {
    await serve('exposing', { provide: APP_FILTER, useValue: new MeshExceptionFilter({ expose: true }) })
    const wrapped = await client.get('/wrapped', { retry: false })
    expect(await wrapped.json()).toMatchObject({
      code: 'no-endpoints',
      service: 'inventory',
      detail: '10.0.0.7 is gone',
    })
    const begun = await client.get('/begun', { retry: false })
    await expect(begun.text()).rejects.toMatchObject({ code: 'connection-lost' })
  })
})

test('a filter of the application for all exceptions goes before or after, as it is registered', async () => {
  @Catch()
  class Everything implements ExceptionFilter {
    catch(_exception: unknown, host: ArgumentsHost): void {
      host.switchToHttp().getResponse<ServerResponse>().writeHead(418).end()
    }
  }
  const providers = [{ provide: APP_FILTER, useClass: Everything }, GLOBAL]
  const app = await createApp(testMesh, 'ordered', { controllers: [Failing], providers })
  await serveNest(app)
  const client = (await testMesh.join('checkout')).http('ordered')
  expect((await client.get('/wrapped', { retry: false })).status).toBe(503)
  expect((await client.get('/missing')).status).toBe(418)
})

test('a caller by gRPC gets a status of gRPC', async () => {
  const inventory = await createApp(testMesh, 'stock', { controllers: [Failing], providers: [GLOBAL] })
  const strategy = new MeshServerGrpc({ mesh: inventory.get(Mesh), ...PROTO })
  inventory.connectMicroservice<MicroserviceOptions>({ strategy }, { inheritAppConfig: true })
  await inventory.startAllMicroservices()

  class Orders {
    constructor(@Inject('STOCK') readonly client: ClientGrpc) {}
  }
  const options = { service: 'stock', ...PROTO }
  const useFactory = (mesh: Mesh) => ({ customClass: MeshClientGrpc, options: { mesh, ...options } })
  const clients = ClientsModule.registerAsync([{ name: 'STOCK', inject: [Mesh], useFactory }])
  const orders = await createApp(testMesh, 'orders', { imports: [clients], providers: [Orders] })
  interface Stock {
    get(item: { sku: string }): Observable<unknown>
  }
  const stock = orders.get(Orders).client.getService<Stock>('Stock')
  await expect(firstValueFrom(stock.get({ sku: 'late' }))).rejects.toMatchObject({
    code: 4,
    details: 'A service that this one needs did not answer in time',
  })
  await expect(firstValueFrom(stock.get({ sku: 'a' }))).rejects.toMatchObject({ code: 14 })
})
