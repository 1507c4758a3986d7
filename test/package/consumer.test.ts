import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
/** The dependencies of an application without the optional peers. */
const INSTALLED = [
  'undici',
  'undici-types',
  'opossum',
  'p-retry',
  'is-network-error',
  'jose',
  're2js',
  'typescript',
  '@types/node',
]

/** With what the registry of a test mesh needs. */
const RUNNING = [...INSTALLED, 'pino', 'yaml', 'commander']

const PROGRAM = `
import {
  currentCall,
  type GrpcCallOptions,
  type GrpcClient,
  type GrpcClientClass,
  type GrpcClientOptions,
  type GrpcPromises,
  type GrpcServerOptions,
  isMeshError,
  joinMesh,
  type Mesh,
  type MeshOptions,
} from 'inmesh'
import { startRegistry } from 'inmesh/registry'
import { circuits, guard } from 'inmesh/resilience'
import { FakeClock, startTestMesh } from 'inmesh/testing'

const options: MeshOptions = { service: 'a', stateDir: 'memory' }
const join: (options?: MeshOptions) => Promise<Mesh> = joinMesh
const quote: (sku: string) => Promise<number> = guard(async (sku: string) => sku.length, { timeout: '1s' })
console.log(join, options, quote, circuits(), currentCall()?.peer?.service, isMeshError(1), startRegistry, startTestMesh, FakeClock)

// Without grpc-js there is no client class, but its types are there all the same.
class Plain {
  constructor(readonly address: string, _credentials: unknown, _options?: unknown) {}
}
const plain: GrpcClientClass<Plain> = Plain
const clientOptions: GrpcClientOptions = { idempotent: ['get'], maxReceiveMessageBytes: 1_000, interceptors: [] }
const callOptions: GrpcCallOptions = { timeout: '1s', retry: false, signal: new AbortController().signal }
const serverOptions: GrpcServerOptions = { port: 9090 }
export async function use(mesh: Mesh, server: never): Promise<void> {
  const client: GrpcClient<Plain> = mesh.grpc(plain, 'inventory', clientOptions)
  const promises: GrpcPromises<Plain> = client.promises
  console.log(promises, callOptions, await mesh.serveGrpc(server, serverOptions))
}
`

/**
 * A client as ts-proto generates it (`outputServices=grpc-js`), and one as proto-loader does, whose
 * overloads are the other way round.
 */
const GRPC_PROGRAM = `
import {
  type CallOptions,
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientOptions,
  type ClientReadableStream,
  type ClientUnaryCall,
  type ClientWritableStream,
  InterceptingCall,
  loadPackageDefinition,
  Metadata,
  type requestCallback,
  Server,
  type ServiceError,
} from '@grpc/grpc-js'
import type { GrpcCallOptions, GrpcClientOptions, GrpcInterceptor, Mesh } from 'inmesh'

// An interceptor gets its types from context, and anything else does not compile.
const logging: GrpcInterceptor = (options, nextCall) => {
  holds<Same<typeof options.method_definition.path, string>>()
  return new InterceptingCall(nextCall(options))
}
export const intercepted: GrpcClientOptions = { interceptors: [logging] }
// @ts-expect-error no interceptor returns nothing
export const wrong: GrpcClientOptions = { interceptors: [() => {}] }

interface Item { sku: string }
interface Stock { left: number }
type Called = (error: ServiceError | null, response: Stock) => void

interface TsProtoClient extends Client {
  get(request: Item, callback: Called): ClientUnaryCall
  get(request: Item, metadata: Metadata, callback: Called): ClientUnaryCall
  get(request: Item, metadata: Metadata, options: Partial<CallOptions>, callback: Called): ClientUnaryCall
  upload(callback: Called): ClientWritableStream<Item>
  upload(metadata: Metadata, callback: Called): ClientWritableStream<Item>
  upload(metadata: Metadata, options: Partial<CallOptions>, callback: Called): ClientWritableStream<Item>
  watch(request: Item, options?: Partial<CallOptions>): ClientReadableStream<Stock>
  watch(request: Item, metadata?: Metadata, options?: Partial<CallOptions>): ClientReadableStream<Stock>
  chat(): ClientDuplexStream<Item, Stock>
  chat(options: Partial<CallOptions>): ClientDuplexStream<Item, Stock>
  chat(metadata: Metadata, options?: Partial<CallOptions>): ClientDuplexStream<Item, Stock>
}
declare const TsProtoClient: {
  new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): TsProtoClient
  service: object
  serviceName: string
}

interface LoadedClient extends Client {
  get(argument: Item, metadata: Metadata, options: CallOptions, callback: requestCallback<Stock>): ClientUnaryCall
  get(argument: Item, metadata: Metadata, callback: requestCallback<Stock>): ClientUnaryCall
  get(argument: Item, options: CallOptions, callback: requestCallback<Stock>): ClientUnaryCall
  get(argument: Item, callback: requestCallback<Stock>): ClientUnaryCall
  upload(metadata: Metadata, options: CallOptions, callback: requestCallback<Stock>): ClientWritableStream<Item>
  upload(metadata: Metadata, callback: requestCallback<Stock>): ClientWritableStream<Item>
  upload(options: CallOptions, callback: requestCallback<Stock>): ClientWritableStream<Item>
  upload(callback: requestCallback<Stock>): ClientWritableStream<Item>
  watch(argument: Item, metadata: Metadata, options?: CallOptions): ClientReadableStream<Stock>
  watch(argument: Item, options?: CallOptions): ClientReadableStream<Stock>
  chat(metadata: Metadata, options?: CallOptions): ClientDuplexStream<Item, Stock>
  chat(options?: CallOptions): ClientDuplexStream<Item, Stock>
}
declare const LoadedClient: new (address: string, credentials: ChannelCredentials, options?: ClientOptions) => LoadedClient

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function holds<_ extends true>(): void {}

interface Expected {
  readonly get: (request: Item, options?: GrpcCallOptions) => Promise<Stock>
  readonly upload: (requests: Iterable<Item> | AsyncIterable<Item>, options?: GrpcCallOptions) => Promise<Stock>
  readonly watch: (request: Item, options?: GrpcCallOptions) => AsyncGenerator<Stock, void, void>
  readonly chat: (
    requests: Iterable<Item> | AsyncIterable<Item>,
    options?: GrpcCallOptions,
  ) => AsyncGenerator<Stock, void, void>
}

export async function use(mesh: Mesh): Promise<void> {
  const generated = mesh.grpc(TsProtoClient, 'inventory')
  const loaded = mesh.grpc(LoadedClient, 'inventory', { idempotent: ['get'] })
  for (const key of ['get', 'upload', 'watch', 'chat'] as const) {
    holds<Same<(typeof generated.promises)[typeof key], Expected[typeof key]>>()
    holds<Same<(typeof loaded.promises)[typeof key], Expected[typeof key]>>()
  }
  holds<Same<keyof typeof generated.promises, keyof Expected>>()
  holds<Same<keyof typeof loaded.promises, keyof Expected>>()

  generated.get({ sku: 'a' }, (error, response) => {
    holds<Same<typeof error, ServiceError | null>>()
    holds<Same<typeof response, Stock>>()
  })
  generated.upload((_error, response) => console.log(response.left)).write({ sku: 'a' })
  generated.watch({ sku: 'a' }).on('data', (stock: Stock) => console.log(stock.left))
  generated.chat().write({ sku: 'a' })
  const { left } = await generated.promises.get({ sku: 'a' }, { metadata: new Metadata(), timeout: '1s' })
  for await (const stock of loaded.promises.chat([{ sku: 'a' }])) console.log(stock.left + left)
  // @ts-expect-error a request of another kind
  await generated.promises.get({ name: 'a' })
  // @ts-expect-error one request is not a stream of them
  await loaded.promises.upload({ sku: 'a' })
  // @ts-expect-error what every client of grpc-js has is no method of the service
  generated.promises.close
  // @ts-expect-error an option that there is not
  mesh.grpc(TsProtoClient, 'inventory', { idempotant: [] })
  console.log(await mesh.serveGrpc(new Server(), { port: 9090 }), loadPackageDefinition)
}
`

/**
 * Asks for a gRPC client in an application that has no grpc-js, or one of the version that it says.
 */
const ASKING = `
import { startTestMesh } from 'inmesh/testing'
const testMesh = await startTestMesh()
const mesh = await testMesh.join('checkout')
for (const ask of [
  async () => mesh.grpc(class { static service = {} }, 'inventory'),
  async () => mesh.grpc(class {}, 'inventory'),
  () => mesh.serveGrpc({}),
]) {
  await ask().catch((error) => console.log(error instanceof TypeError, error.message))
}
await testMesh.close()
`

/** What grpc-js brings with it. */
const GRPC = ['@grpc/grpc-js', '@grpc/proto-loader', '@js-sdsl/ordered-map', 'protobufjs', '@protobufjs', 'long']

const projects: string[] = []

function makeProject(program: string, installed: readonly string[]): string {
  const project = mkdtempSync(join(tmpdir(), 'inmesh-consumer-'))
  projects.push(project)
  const modules = join(project, 'node_modules')
  mkdirSync(join(modules, 'inmesh'), { recursive: true })
  // A copy, not a link: from inside a link, all packages of this repository would be found.
  for (const part of ['dist', 'package.json'])
    cpSync(join(ROOT, part), join(modules, 'inmesh', part), { recursive: true })
  for (const name of installed) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name))
  }
  writeFileSync(join(project, 'package.json'), '{"type":"module"}')
  writeFileSync(join(project, 'program.ts'), program)
  return project
}

beforeAll(() => {
  if (!existsSync(join(ROOT, 'dist/index.d.ts'))) throw new Error("there is no dist: run 'npm run build' first")
})

afterAll(() => {
  for (const project of projects) rmSync(project, { recursive: true, force: true })
})

/** One for all programs with the same packages: the copy of the package takes its time. */
const checked = new Map<readonly string[], string>()
const WITH_GRPC = [...INSTALLED, ...GRPC]

function checkedProject(program: string, installed: readonly string[]): string {
  const known = checked.get(installed) ?? makeProject(program, installed)
  checked.set(installed, known)
  writeFileSync(join(known, 'program.ts'), program)
  return known
}

function check(project: string, module: string, type: 'module' | 'commonjs' = 'module'): string {
  writeFileSync(join(project, 'package.json'), JSON.stringify({ type }))
  const options = { module, target: 'es2023', lib: ['es2023', 'esnext.disposable'], types: ['node'], noEmit: true }
  const strict = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
  }
  const config = { compilerOptions: { ...options, ...strict }, files: ['program.ts'] }
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify(config))
  try {
    execFileSync(process.execPath, [join(project, 'node_modules/typescript/bin/tsc'), '-p', project], {
      encoding: 'utf8',
    })
    return ''
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

describe("an application's type check, without skipLibCheck", { timeout: 300_000 }, () => {
  it.each([['nodenext'], ['preserve']])('passes with module %s without any optional peer', (module) => {
    expect(check(checkedProject(PROGRAM, INSTALLED), module)).toBe('')
  })

  it.each([['node16'], ['nodenext']])('passes with module %s in a CommonJS file', (module) => {
    expect(check(checkedProject(PROGRAM, INSTALLED), module, 'commonjs')).toBe('')
  })

  it.each([['nodenext'], ['preserve']])(
    'knows with module %s what generated gRPC clients take and answer, if there is grpc-js',
    (module) => {
      expect(check(checkedProject(GRPC_PROGRAM, WITH_GRPC), module)).toBe('')
    },
  )
})

describe('an application that asks for a gRPC client', { timeout: 150_000 }, () => {
  function run(project: string): string {
    writeFileSync(join(project, 'asking.mjs'), ASKING)
    return execFileSync(process.execPath, [join(project, 'asking.mjs')], { encoding: 'utf8', timeout: 60_000 })
  }

  it('without grpc-js is told to install it, and runs on', () => {
    const said = run(makeProject(PROGRAM, RUNNING))
    const each = said.trim().split('\n')
    expect(each).toHaveLength(3)
    for (const line of each) {
      expect(line).toMatch(
        /^true .*(?:mesh\.g|serveG)rpc.*@grpc\/grpc-js, which is not installed: npm install @grpc\/grpc-js@\^1\.14\.4/,
      )
    }
  })

  it('with one that is too old is told which it has', () => {
    const project = makeProject(PROGRAM, RUNNING)
    const directory = join(project, 'node_modules/@grpc/grpc-js')
    mkdirSync(directory, { recursive: true })
    writeFileSync(join(directory, 'package.json'), '{"name":"@grpc/grpc-js","version":"1.14.3","main":"index.js"}')
    writeFileSync(join(directory, 'index.js'), 'throw new Error("it was loaded")')
    expect(run(project)).toMatch(/^true .*needs @grpc\/grpc-js \^1\.14\.4, found 1\.14\.3/)
  })
})
