import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import {
  type CallHandler,
  type CanActivate,
  Controller,
  type ExecutionContext,
  Get,
  Injectable,
  type NestInterceptor,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  Param,
  type PipeTransform,
  UseGuards,
  UseInterceptors,
  UsePipes,
  VersioningType,
} from '@nestjs/common'
import { type AbstractHttpAdapter, HttpAdapterHost, NestFactory } from '@nestjs/core'
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter } from '@nestjs/platform-fastify'
import { map, type Observable } from 'rxjs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { Mesh, serveNest } from '../../../src/frameworks/nest/index.ts'
import { currentCall } from '../../../src/index.ts'
import { startTestMesh, type TestMesh } from '../../../src/testing/index.ts'
import { closeApp, createApp } from './rig.ts'

let testMesh: TestMesh
beforeAll(async () => {
  testMesh = await startTestMesh()
})
afterAll(() => testMesh.close())

const ADAPTERS: readonly (readonly [string, () => AbstractHttpAdapter])[] = [
  ['Express', () => new ExpressAdapter()],
  ['Fastify', () => new FastifyAdapter() as unknown as AbstractHttpAdapter],
]

describe.each(ADAPTERS)('over %s', (_name, adapter) => {
  test('guards, interceptors and pipes run in the context of the call, with prefix and version', async () => {
    const peers: unknown[] = []
    const note = (where: string): number => peers.push(`${where} ${currentCall()?.peer?.service}`)
    class Guard implements CanActivate {
      canActivate(): boolean {
        return note('guard') > 0
      }
    }
    class Interceptor implements NestInterceptor {
      intercept(_context: ExecutionContext, next: CallHandler): Observable<unknown> {
        note('interceptor')
        return next.handle().pipe(map((value) => ({ value, after: currentCall()?.peer?.service })))
      }
    }
    class Pipe implements PipeTransform {
      transform(value: unknown): unknown {
        note('pipe')
        return value
      }
    }
    @Controller({ path: 'items', version: '2' })
    @UseGuards(Guard)
    @UseInterceptors(Interceptor)
    class Items {
      @Get(':sku')
      @UsePipes(Pipe)
      find(@Param('sku') sku: string): string {
        note('handler')
        return sku
      }
    }
    const app = await createApp(testMesh, 'ordered', { controllers: [Items] }, adapter())
    app.setGlobalPrefix('api')
    app.enableVersioning({ type: VersioningType.URI })
    const listening = app.get(HttpAdapterHost)
    expect(listening.listening).toBe(false)
    const server = await serveNest(app, { port: 0 })
    expect(server.port).toBeGreaterThan(0)
    expect(listening.listening).toBe(true)
    const answer = await (await testMesh.join('checkout')).fetch('http://ordered/api/v2/items/a')
    expect(await answer.json()).toEqual({ value: 'a', after: 'checkout' })
    expect(peers).toEqual(['guard', 'interceptor', 'pipe', 'handler'].map((where) => `${where} checkout`))
  })

  test('closing under load loses no request, and providers are destroyed after the last of them', async () => {
    const steps: string[] = []
    @Injectable()
    class Database implements OnModuleDestroy, OnApplicationShutdown {
      open = true
      running = 0
      constructor(private readonly mesh: Mesh) {}
      onModuleDestroy(): void {
        steps.push(`destroyed with ${this.running} running`)
        this.open = false
      }
      async onApplicationShutdown(): Promise<void> {
        // The mesh is there for what a provider still has to tell.
        steps.push(`told ${(await this.mesh.fetch('http://audit/')).status}`)
      }
      async query(): Promise<string> {
        this.running += 1
        await new Promise((resolve) => setTimeout(resolve, 20))
        this.running -= 1
        if (!this.open) steps.push('queried when it was closed')
        return 'row'
      }
    }
    @Controller()
    class Rows {
      constructor(private readonly database: Database) {}
      @Get('row')
      row(): Promise<string> {
        return this.database.query()
      }
    }
    const metadata = { controllers: [Rows], providers: [Database] }
    await testMesh.serve('audit', (_request, response) => response.end())
    const [leaving, staying] = await Promise.all([0, 1].map(() => createApp(testMesh, 'rows', metadata, adapter())))
    for (const app of [leaving!, staying!]) await serveNest(app)
    const caller = await testMesh.join('checkout')
    let left = false
    const statuses = new Map<number, number>()
    const load = async (): Promise<void> => {
      for (let after = 0; after < 5; after += left ? 1 : 0) {
        const answer = await caller.fetch('http://rows/row')
        statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
        await answer.text()
      }
    }
    const loads = Array.from({ length: 10 }, load)
    await new Promise((resolve) => setTimeout(resolve, 100))
    await closeApp(leaving!)
    left = true
    await Promise.all(loads)
    expect([...statuses.keys()]).toEqual([200])
    expect(statuses.get(200)).toBeGreaterThan(50)
    expect(steps).toEqual(['destroyed with 0 running', 'told 200'])
  })

  test('an upgrade reaches the listener on the server of Nest, as gateways add it', async () => {
    const app = await createApp(testMesh, 'rooms', {}, adapter())
    app.getHttpServer().on('upgrade', (_request: unknown, socket: { end(text: string): void }) => {
      socket.end('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n')
    })
    const { port } = await serveNest(app, { mode: 'plaintext' })
    const request = httpRequest({ port, headers: { connection: 'upgrade', upgrade: 'test' } }).end()
    const [answer, socket] = await once(request, 'upgrade')
    expect(answer.statusCode).toBe(101)
    socket.destroy()
  })
})

test('what cannot be served is refused with what to do', async () => {
  const app = await createApp(testMesh, 'refused', {})
  await app.listen(0)
  await expect(serveNest(app)).rejects.toThrow('listens already: leave out app.listen(), serveNest takes its place')
  await expect(serveNest({} as never)).rejects.toThrow('expected the application that NestFactory.create() makes')
  await expect(serveNest(await createApp(testMesh, 'refused', {}), { prt: 1 } as never)).rejects.toThrow('port')

  for (const option of ['forceCloseConnections', 'return503OnClosing']) {
    const other = await createApp(testMesh, 'refused', {}, new ExpressAdapter(), { [option]: true })
    await expect(serveNest(other)).rejects.toThrow(`has the option ${option}: leave it out`)
  }

  class Empty {}
  const exit = vi.spyOn(process, 'exit')
  const outside = await NestFactory.create({ module: Empty }, { logger: false })
  await expect(serveNest(outside)).rejects.toThrow('import MeshModule.forRoot(')
  expect(exit).not.toHaveBeenCalled()
  exit.mockRestore()
  await outside.close()
})
