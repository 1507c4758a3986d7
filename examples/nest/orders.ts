/** A service of Nest that calls another one by HTTP, by `HttpModule` and by gRPC. */
import 'reflect-metadata'
import { join } from 'node:path'
import { HttpModule, HttpService } from '@nestjs/axios'
import { Controller, Get, Inject, Injectable, Module, Param } from '@nestjs/common'
import { APP_FILTER, NestFactory } from '@nestjs/core'
import { type ClientGrpc, ClientsModule } from '@nestjs/microservices'
import { type HttpClient, Mesh, MeshClient, MeshExceptionFilter, MeshModule, serveNest } from 'inmesh/nest'
import { MeshClientGrpc } from 'inmesh/nest/microservices'
import { circuitBreaker, fallback, timeout } from 'inmesh/resilience'
import { firstValueFrom, type Observable } from 'rxjs'

interface StockService {
  left(item: { sku: string }): Observable<{ sku: string; left: number }>
}

@Injectable()
class Inventory {
  readonly #stock: StockService

  constructor(
    @MeshClient('inventory') private readonly http: HttpClient,
    private readonly axios: HttpService,
    @Inject('STOCK') stock: ClientGrpc,
  ) {
    this.#stock = stock.getService<StockService>('Stock')
  }

  /** By the client of the mesh. */
  async price(sku: string): Promise<unknown> {
    return (await this.http.get(`/items/${sku}`, { timeout: '1s' })).json()
  }

  /** By axios, with the agent of the mesh. */
  async priceByAxios(sku: string): Promise<unknown> {
    return (await firstValueFrom(this.axios.get(`http://inventory:4001/items/${sku}`))).data
  }

  /** By gRPC. */
  async left(sku: string): Promise<number> {
    return (await firstValueFrom(this.#stock.left({ sku }))).left
  }
}

@Injectable()
class Partner {
  /** No service of the mesh: its policies are here. */
  @fallback(() => 'some day')
  @circuitBreaker()
  @timeout('100ms')
  async delivery(): Promise<string> {
    return new Promise(() => {}) // never answers
  }
}

@Controller('orders')
class Orders {
  constructor(
    private readonly inventory: Inventory,
    private readonly partner: Partner,
    @MeshClient('billing') private readonly billing: HttpClient,
  ) {}

  @Get('bill')
  bill(): Promise<unknown> {
    // No instance serves it: the filter answers.
    return this.billing.get('/', { timeout: '300ms' })
  }

  @Get(':sku')
  async order(@Param('sku') sku: string): Promise<object> {
    const [price, byAxios, left, delivery] = await Promise.all([
      this.inventory.price(sku),
      this.inventory.priceByAxios(sku),
      this.inventory.left(sku),
      this.partner.delivery(),
    ])
    return { price, byAxios, left, delivery }
  }
}

const protoPath = join(import.meta.dirname, '../shop.proto')

@Module({
  imports: [
    MeshModule.forRoot({ service: 'orders' }),
    HttpModule.registerAsync({
      inject: [Mesh],
      useFactory: (mesh: Mesh) => {
        // By `services`, URLs stay as they were without a mesh.
        const agent = mesh.agent({ services: ['inventory'], timeout: '5s' })
        return { httpAgent: agent, httpsAgent: agent, proxy: false }
      },
    }),
    ClientsModule.registerAsync([
      {
        name: 'STOCK',
        inject: [Mesh],
        useFactory: (mesh: Mesh) => ({
          customClass: MeshClientGrpc,
          options: { mesh, service: 'inventory', package: 'shop', protoPath },
        }),
      },
    ]),
  ],
  controllers: [Orders],
  providers: [Inventory, Partner, { provide: APP_FILTER, useValue: new MeshExceptionFilter() }],
})
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['warn', 'error', 'fatal'] })
app.setGlobalPrefix('api')
await serveNest(app)
console.log('orders serves')
