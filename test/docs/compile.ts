/** Compiles blocks of TypeScript and JavaScript against the types that the package publishes. */
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { type PlacedBlock, ROOT } from './pages.ts'

/** What blocks may use without saying where it comes from. */
const GIVEN = `
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Express } from 'express'
import type { Mesh } from 'inmesh'
import type { Logger } from 'pino'
declare global {
  const mesh: Mesh
  const app: Express
  const log: Logger
  const request: IncomingMessage
  const response: ServerResponse
}
`

/** Modules of the reader, by the end of their paths. */
const MODULES: Readonly<Record<string, string>> = {
  'generated/prices.ts': `
import type { CallOptions, Client, ClientReadableStream, ClientUnaryCall, ServiceDefinition } from '@grpc/grpc-js'
import type { ChannelCredentials, ClientOptions, Metadata, ServiceError } from '@grpc/grpc-js'
export interface Item { sku: string }
export interface Price { sku: string; cents: number }
type Answered = (error: ServiceError | null, price: Price) => void
export interface PricesClient extends Client {
  quote(request: Item, callback: Answered): ClientUnaryCall
  quote(request: Item, metadata: Metadata, callback: Answered): ClientUnaryCall
  quote(request: Item, metadata: Metadata, options: Partial<CallOptions>, callback: Answered): ClientUnaryCall
  watch(request: Item, options?: Partial<CallOptions>): ClientReadableStream<Price>
  watch(request: Item, metadata?: Metadata, options?: Partial<CallOptions>): ClientReadableStream<Price>
}
export declare const PricesClient: {
  new (address: string, credentials: ChannelCredentials, options?: Partial<ClientOptions>): PricesClient
  service: ServiceDefinition
  serviceName: string
}
export declare const PricesService: ServiceDefinition
`,
  // By ts-proto with `outputServices=nice-grpc,outputServices=generic-definitions`.
  'generated/nice/prices.ts': `
interface Message<T> {
  encode(message: T): { finish(): Uint8Array }
  decode(input: Uint8Array): T
  fromPartial(object: Partial<T>): T
}
export interface Item { sku: string }
export interface Price { sku: string; cents: number }
declare const Item: Message<Item>
declare const Price: Message<Price>
export const PricesDefinition = {
  name: 'Prices',
  fullName: 'shop.Prices',
  methods: {
    quote: {
      name: 'Quote',
      requestType: Item,
      requestStream: false,
      responseType: Price,
      responseStream: false,
      options: { idempotencyLevel: 'NO_SIDE_EFFECTS' },
    },
  },
} as const
`,
  // By openapi-typescript.
  'generated/inventory.ts': `
export interface paths {
  '/items/{id}': {
    get: {
      parameters: { path: { id: string } }
      responses: { 200: { content: { 'application/json': { name: string } } } }
    }
  }
}
`,
  'inventory/router.ts': `
import { initTRPC } from '@trpc/server'
const { procedure, router } = initTRPC.create()
declare const find: (id: string) => { name: string }
const inventory = router({ item: procedure.input((id) => String(id)).query(({ input }) => find(input)) })
export type InventoryRouter = typeof inventory
`,
  'generated/connect/prices_pb.ts': `
import type { Message } from '@bufbuild/protobuf'
import type { GenMessage, GenService } from '@bufbuild/protobuf/codegenv2'
export type Item = Message<'shop.Item'> & { sku: string }
export declare const ItemSchema: GenMessage<Item>
export type Price = Message<'shop.Price'> & { sku: string; cents: number }
export declare const PriceSchema: GenMessage<Price>
export declare const Prices: GenService<{
  quote: { methodKind: 'unary'; input: typeof ItemSchema; output: typeof PriceSchema }
}>
`,
  'generated/protobuf-ts/prices.ts': `
import { ServiceType } from '@protobuf-ts/runtime-rpc'
export interface Item { sku: string }
export interface Price { sku: string; cents: number }
export declare const Prices: ServiceType
`,
  'generated/protobuf-ts/prices.client.ts': `
import type { RpcOptions, RpcTransport, ServiceInfo, UnaryCall } from '@protobuf-ts/runtime-rpc'
import type { Item, Price } from './prices.js'
export declare class PricesClient implements ServiceInfo {
  typeName: ServiceInfo['typeName']
  methods: ServiceInfo['methods']
  options: ServiceInfo['options']
  constructor(transport: RpcTransport)
  quote(input: Item, options?: RpcOptions): UnaryCall<Item, Price>
}
`,
}

const OPTIONS: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2023,
  lib: ['lib.es2024.d.ts', 'lib.esnext.disposable.d.ts'],
  module: ts.ModuleKind.NodeNext,
  moduleResolution: ts.ModuleResolutionKind.NodeNext,
  moduleDetection: ts.ModuleDetectionKind.Force,
  types: ['node'],
  strict: true,
  skipLibCheck: true,
  noEmit: true,
  allowJs: true,
  checkJs: true,
}

/** NestJS decorates parameters, which the standard's decorators cannot. */
const NEST_OPTIONS: ts.CompilerOptions = { ...OPTIONS, experimentalDecorators: true, emitDecoratorMetadata: true }
const OF_NEST = /from '(?:@nestjs|inmesh\/nest)/

/** A part of a page may end early, as the body of a handler does. */
const RETURN_OUTSIDE = 1108
/** JavaScript has no types to write down. */
const isImplicitAny = (code: number): boolean => code >= 7000 && code < 7100

interface Source {
  readonly block: PlacedBlock
  readonly text: string
  /** Lines before the block's first one. */
  readonly before: number
}

/** Each mistake with its place in the page and its line. */
export function mistakesIn(blocks: readonly PlacedBlock[]): readonly string[] {
  const isNest = (block: PlacedBlock): boolean => OF_NEST.test(sourceOf(block).text)
  const ofNest = blocks.filter(isNest)
  const others = blocks.filter((block) => !isNest(block))
  return [...mistakesWith(NEST_OPTIONS, ofNest), ...mistakesWith(OPTIONS, others)]
}

function mistakesWith(options: ts.CompilerOptions, blocks: readonly PlacedBlock[]): readonly string[] {
  const sources = new Map(blocks.map((block) => [fileOf(block), sourceOf(block)]))
  const host = hostOf(new Map([...sources].map(([file, { text }]) => [file, text])), options)
  const given = join(ROOT, 'docs/given.d.ts')
  const program = ts.createProgram([given, ...sources.keys()], options, host)
  const file = program.getSourceFile(given)
  const own = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
  return [
    ...own.map(({ messageText }) => `what blocks may use: ${ts.flattenDiagnosticMessageText(messageText, '\n  ')}`),
    ...[...sources].flatMap(([name, source]) => mistakesOf(source, program, program.getSourceFile(name)!)),
  ]
}

/** A block, and what its comment gives, as JavaScript. */
export function javaScriptOf(block: PlacedBlock): string {
  const { module, target } = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 }
  return ts.transpileModule(sourceOf(block).text, { compilerOptions: { module, target } }).outputText
}

function fileOf({ page, line, language, text }: PlacedBlock): string {
  const isModule = /^(?:import|export)\b/m.test(text) || language === 'ts'
  const extension = language === 'tsx' ? 'tsx' : language === 'js' ? (isModule ? 'mjs' : 'cjs') : 'ts'
  return join(ROOT, dirname(page), `${page.replaceAll('/', '-')}.${line}.${extension}`)
}

function sourceOf(block: PlacedBlock): Source {
  const earlier = block.marks.has('continues') && block.before !== undefined ? sourceOf(block.before).text : ''
  const given = block.marks.get('given')
  const before = `${earlier}${given === undefined ? '' : `${given}\n`}`
  // A body that the page leaves out.
  const text = block.text.replaceAll('{ /* … */ }', '{ throw undefined as never }')
  return { block, text: `${before}${text}`, before: before.split('\n').length - 1 }
}

function mistakesOf({ block, before }: Source, program: ts.Program, file: ts.SourceFile): readonly string[] {
  const found = [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]
  return found
    .filter(({ code }) => code !== RETURN_OUTSIDE && !(block.language === 'js' && isImplicitAny(code)))
    .flatMap(({ start = 0, messageText }) => {
      const { line } = file.getLineAndCharacterOfPosition(start)
      const text = ts.flattenDiagnosticMessageText(messageText, '\n    ')
      const inBlock = line - before
      if (inBlock >= 0) {
        return [`${block.page}:${block.line + 1 + inBlock}: ${text}\n    > ${file.text.split('\n')[line]!.trim()}`]
      }
      // What continues another block has its mistakes there.
      return block.marks.has('continues') ? [] : [`${block.page}:${block.line}: in the comment before it: ${text}`]
    })
}

function hostOf(texts: ReadonlyMap<string, string>, compilerOptions: ts.CompilerOptions): ts.CompilerHost {
  const host = ts.createCompilerHost(compilerOptions)
  const read = (file: string): string | undefined => {
    if (file === join(ROOT, 'docs/given.d.ts')) return GIVEN
    return texts.get(file) ?? Object.entries(MODULES).find(([end]) => file.endsWith(`/${end}`))?.[1]
  }
  const { fileExists, getSourceFile, readFile } = host
  host.fileExists = (file) => read(file) !== undefined || fileExists(file)
  host.readFile = (file) => read(file) ?? readFile(file)
  host.directoryExists = (path) => /\/(?:generated|inventory)(?:\/|$)/.test(path) || ts.sys.directoryExists(path)
  host.getSourceFile = (file, options, ...rest) => {
    const text = read(file)
    return text === undefined ? getSourceFile(file, options, ...rest) : ts.createSourceFile(file, text, options, true)
  }
  return host
}
