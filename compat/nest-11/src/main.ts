/** A service of Nest 11 in CommonJS: HTTP, gRPC, a gateway, and probes by Terminus. */
import 'reflect-metadata'
import { join } from 'node:path'
import { Controller, Get, Injectable, Module, type OnModuleDestroy, Param } from '@nestjs/common'
import { APP_FILTER, NestFactory } from '@nestjs/core'
import { GrpcMethod, type MicroserviceOptions } from '@nestjs/microservices'
import { WsAdapter } from '@nestjs/platform-ws'
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus'
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets'
import { CurrentCall, type HttpClient, Mesh, MeshClient, MeshExceptionFilter, MeshModule, serveNest } from 'inmesh/nest'
import { MeshServerGrpc } from 'inmesh/nest/microservices'
import { retry } from 'inmesh/resilience'

@Injectable()
class Stock implements OnModuleDestroy {
  #open = true

  constructor(
    private readonly mesh: Mesh,
    @MeshClient('warehouse') private readonly warehouse: HttpClient,
  ) {}

  onModuleDestroy(): void {
    this.#open = false
    console.log('destroyed')
  }

  @retry({ attempts: 2 })
  async left(sku: string): Promise<object> {
    await new Promise((resolve) => setTimeout(resolve, 20))
    if (!this.#open) console.log('asked when it was destroyed')
    return { sku, left: 7, by: this.mesh.service }
  }

  async elsewhere(): Promise<unknown> {
    return (await this.warehouse.get('/')).json()
  }
}

@Controller('items')
class Items {
  constructor(private readonly stock: Stock) {}

  @Get('elsewhere')
  elsewhere(): Promise<unknown> {
    return this.stock.elsewhere()
  }

  @Get(':sku')
  async find(@Param('sku') sku: string, @CurrentCall() call?: CurrentCall): Promise<object> {
    return { ...(await this.stock.left(sku)), for: call?.peer?.service }
  }

  @GrpcMethod('Stock', 'Get')
  get({ sku }: { sku: string }): Promise<object> {
    return this.stock.left(sku)
  }
}

@Controller()
class Health {
  constructor(
    private readonly health: HealthCheckService,
    private readonly mesh: Mesh,
  ) {}

  @Get('healthz')
  @HealthCheck()
  check() {
    return this.health.check([() => ({ mesh: { status: this.mesh.stale ? 'down' : 'up' } })])
  }
}

@WebSocketGateway({ path: '/rooms' })
class Rooms {
  @SubscribeMessage('say')
  say(@MessageBody() text: string): { event: string; data: string } {
    return { event: 'said', data: text.toUpperCase() }
  }
}

@Module({
  imports: [MeshModule.forRoot({ service: 'shop', drainNotice: '1s' }), TerminusModule],
  controllers: [Items, Health],
  providers: [Stock, Rooms, { provide: APP_FILTER, useValue: new MeshExceptionFilter() }],
})
class AppModule {}

async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn', 'fatal'] })
  app.useWebSocketAdapter(new WsAdapter(app))
  app.setGlobalPrefix('api')
  const proto = { package: 'shop', protoPath: join(__dirname, '../shop.proto') }
  app.connectMicroservice<MicroserviceOptions>({ strategy: new MeshServerGrpc({ mesh: app.get(Mesh), ...proto }) })
  await app.startAllMicroservices()
  const { port } = await serveNest(app)
  console.log(`serves on ${port}`)
}

void main()
