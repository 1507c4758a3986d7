/** A service of Nest that answers by HTTP and by gRPC, in the mesh. */
import 'reflect-metadata'
import { join } from 'node:path'
import { Controller, Get, Module, NotFoundException, Param } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { GrpcMethod, type MicroserviceOptions, RpcException } from '@nestjs/microservices'
import { CurrentCall, Mesh, MeshModule, serveNest } from 'inmesh/nest'
import { MeshServerGrpc } from 'inmesh/nest/microservices'

const NOT_FOUND = 5
const ITEMS = new Map([
  ['apple', { cents: 30, left: 7 }],
  ['pear', { cents: 40, left: 0 }],
])

@Controller('items')
class Items {
  @Get(':sku')
  find(@Param('sku') sku: string, @CurrentCall() call?: CurrentCall) {
    const item = ITEMS.get(sku)
    if (item === undefined) throw new NotFoundException(`there is no ${sku}`)
    return { sku, cents: item.cents, askedBy: call?.peer?.service }
  }

  @GrpcMethod('Stock', 'Left')
  left({ sku }: { sku: string }) {
    const item = ITEMS.get(sku)
    if (item === undefined) throw new RpcException({ code: NOT_FOUND, message: `there is no ${sku}` })
    return { sku, left: item.left }
  }
}

@Module({ imports: [MeshModule.forRoot({ service: 'inventory' })], controllers: [Items] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['warn', 'error', 'fatal'] })
const protoPath = join(import.meta.dirname, '../shop.proto')
const strategy = new MeshServerGrpc({ mesh: app.get(Mesh), package: 'shop', protoPath })
app.connectMicroservice<MicroserviceOptions>({ strategy })
await app.startAllMicroservices()
await serveNest(app)
console.log('inventory serves')
