/** A small mesh to call: `inventory` by HTTP and gRPC, with reflection or without. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import * as grpc from '@grpc/grpc-js'
import { fromJSON, loadSync, type MessageTypeDefinition, type ServiceDefinition } from '@grpc/proto-loader'
import { joinMesh } from '../../../src/mesh/join-mesh.ts'
import type { Mesh } from '../../../src/mesh/mesh.ts'
import { type Registry, type RegistryOptions, startRegistry } from '../../../src/registry/index.ts'
import { SHOP_PROTO } from '../../rigs/shop.ts'
import { type Around, type Run, run } from '../run-command.ts'

export class CalledMesh {
  registry!: Registry
  readonly #meshes: Mesh[] = []
  /** Requests of the path `/twice` that fail before one is answered. */
  failures = 0

  async start(options: RegistryOptions): Promise<this> {
    this.registry = await startRegistry({ ...{ port: 0, memory: true, log: false, joinsPerSecond: 1_000 }, ...options })
    return this
  }

  async join(service: string): Promise<Mesh> {
    const { registry } = this
    const joinToken = registry.dev ? undefined : await registry.createJoinToken({ service })
    const mesh = await joinMesh({
      ...{ service, registry: registry.url, stateDir: 'memory', handleSignals: false, drainNotice: 0, version: 'v1' },
      ...{ joinTimeout: '30s', ...(joinToken !== undefined && { joinToken }) },
    })
    this.#meshes.push(mesh)
    return mesh
  }

  async serveHttp(mesh: Mesh): Promise<void> {
    await mesh.serve((request, response) => this.#answer(request, response))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (request.url === '/missing') response.writeHead(404).end('no such item')
    else if (request.url === '/bytes') response.end(Buffer.from([0, 1, 254, 255]))
    else if (request.url === '/escape') response.end('\u001b[31mred')
    else if (request.url === '/wide')
      response.setHeader('content-type', 'application/json').end('{"id":12345678901234567890}')
    else if (request.url === '/twice' && this.failures-- > 0) response.writeHead(503).end()
    else if (request.url === '/lost') request.socket.destroy()
    else {
      let body = ''
      request.on('data', (part) => {
        body += part
      })
      request.on('end', () => {
        response.setHeader('content-type', 'application/json')
        const { method, url, headers } = request
        response.end(JSON.stringify({ method, url, body, type: headers['content-type'], user: headers['x-user'] }))
      })
    }
  }

  async serveGrpc(mesh: Mesh, reflection?: 'v1' | 'v1alpha'): Promise<void> {
    const server = new grpc.Server()
    const definitions = loadSync(SHOP_PROTO)
    server.addService(definitions['shop.Inventory'] as grpc.ServiceDefinition, HANDLERS)
    if (reflection !== undefined) {
      const { fileDescriptorProtos } = definitions['shop.Item'] as MessageTypeDefinition<object, object>
      addReflection(server, reflection, fileDescriptorProtos)
    }
    await mesh.serveGrpc(server)
  }

  command(args: readonly string[], around: Around = {}): Promise<Run> {
    const env = { INMESH_REGISTRY: this.registry.url, HOME: '/nonexistent', ...around.env }
    return run(args, { ...around, env })
  }

  async close(): Promise<void> {
    await Promise.all(this.#meshes.map((mesh) => mesh.close()))
    await this.registry.close()
  }
}

type Item = { readonly sku: string }

const HANDLERS: grpc.UntypedServiceImplementation = {
  Get(call: grpc.ServerUnaryCall<Item, object>, answer: grpc.sendUnaryData<object>) {
    const { sku } = call.request
    if (sku === 'none') answer({ code: grpc.status.NOT_FOUND, details: 'there is no such item' })
    else answer(null, { sku: `${sku}${call.metadata.get('x-user').join('')}`, left: 7 })
  },
  Take(_call: grpc.ServerUnaryCall<Item, object>, answer: grpc.sendUnaryData<object>) {
    answer(null, { left: 6 })
  },
  Upload(call: grpc.ServerReadableStream<Item, object>, answer: grpc.sendUnaryData<object>) {
    let left = 0
    call.on('data', () => {
      left += 1
    })
    call.on('end', () => answer(null, { left }))
  },
  Watch(call: grpc.ServerWritableStream<Item, object>) {
    for (const left of [3, 2, 1]) call.write({ sku: call.request.sku, left })
    call.end()
  },
  Chat(call: grpc.ServerDuplexStream<Item, object>) {
    call.on('data', ({ sku }: Item) => call.write({ sku, left: 1 }))
    call.on('end', () => call.end())
  },
}

/** Answers one file for each question, as the least a server may do. */
function addReflection(server: grpc.Server, version: string, files: readonly Buffer[]): void {
  const name = `grpc.reflection.${version}`
  const stream = { requestStream: true, responseStream: true }
  const nested = {
    ServerReflection: {
      methods: { ServerReflectionInfo: { requestType: 'Asked', responseType: 'Answered', ...stream } },
    },
    Asked: {
      fields: { file_by_filename: { type: 'string', id: 3 }, file_containing_symbol: { type: 'string', id: 4 } },
    },
    Answered: {
      fields: { file_descriptor_response: { type: 'Files', id: 4 }, error_response: { type: 'Problem', id: 7 } },
    },
    Files: { fields: { file_descriptor_proto: { rule: 'repeated', type: 'bytes', id: 1 } } },
    Problem: { fields: { error_code: { type: 'int32', id: 1 }, error_message: { type: 'string', id: 2 } } },
  }
  const inside = version.split('.').reduceRight<object>((within, part) => ({ [part]: { nested: within } }), nested)
  const root = { nested: { grpc: { nested: { reflection: { nested: inside } } } } }
  const service = fromJSON(root as never, { keepCase: true })[`${name}.ServerReflection`] as ServiceDefinition
  server.addService(service as unknown as grpc.ServiceDefinition, {
    ServerReflectionInfo(call: grpc.ServerDuplexStream<{ file_containing_symbol?: string }, object>) {
      call.on('data', (asked) => {
        const isKnown = asked.file_containing_symbol === 'shop.Inventory'
        call.write(
          isKnown
            ? { file_descriptor_response: { file_descriptor_proto: files } }
            : { error_response: { error_code: 5, error_message: 'symbol not found' } },
        )
      })
      call.on('end', () => call.end())
    },
  })
}
