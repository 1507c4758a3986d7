/**
 * Asks a server for its descriptors: gRPC server reflection, `v1` and before it `v1alpha`
 * (grpc/doc/server-reflection.md).
 */
import type * as loader from '@grpc/proto-loader'
import { GRPC_STATUS } from '../../../core/status.ts'
import { EXIT, Failure } from '../../failure.ts'
import { loadProtoLoader } from './definitions.ts'

/** Of descriptors in one answer to a command; more are no API that anyone wrote. */
const MOST_FILES = 1_000
const VERSIONS = ['v1', 'v1alpha'] as const

/** Makes a client of a service definition, and its promises. */
export type Connect = (service: loader.ServiceDefinition) => Promises

type Promises = Readonly<Record<string, (requests: readonly object[]) => AsyncIterable<object>>>

interface Answer {
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] } | null
  readonly errorResponse?: { readonly errorCode: number; readonly errorMessage: string } | null
}

/** The part of the protocol that is used, and readers of descriptors as a method never called. */
function protocol(version: string): object {
  const method = (requestType: string, responseType: string) => ({
    ...{ requestType, responseType, requestStream: true, responseStream: true },
  })
  const messages = {
    Request: {
      oneofs: { messageRequest: { oneof: ['fileByFilename', 'fileContainingSymbol'] } },
      fields: { fileByFilename: { type: 'string', id: 3 }, fileContainingSymbol: { type: 'string', id: 4 } },
    },
    Response: {
      fields: { fileDescriptorResponse: { type: 'Files', id: 4 }, errorResponse: { type: 'Problem', id: 7 } },
    },
    Files: { fields: { fileDescriptorProto: { rule: 'repeated', type: 'bytes', id: 1 } } },
    Problem: { fields: { errorCode: { type: 'int32', id: 1 }, errorMessage: { type: 'string', id: 2 } } },
    // FileDescriptorProto and FileDescriptorSet of google/protobuf/descriptor.proto.
    File: { fields: { name: { type: 'string', id: 1 }, dependency: { rule: 'repeated', type: 'string', id: 3 } } },
    FileSet: { fields: { file: { rule: 'repeated', type: 'bytes', id: 1 } } },
  }
  const ServerReflection = {
    methods: { ServerReflectionInfo: method('Request', 'Response'), Descriptors: method('FileSet', 'File') },
  }
  const inVersion = { nested: { ServerReflection, ...messages } }
  return { nested: { grpc: { nested: { reflection: { nested: { [version]: inVersion } } } } } }
}

/**
 * The descriptors of everything that `symbol` needs, as a FileDescriptorSet.
 *
 * @throws Failure if the server has no reflection or does not know it; ServiceError
 */
export async function reflect(connect: Connect, symbol: string): Promise<Buffer> {
  for (const version of VERSIONS) {
    try {
      return await reflectBy(connect, version, symbol)
    } catch (error) {
      if ((error as { code?: unknown }).code !== GRPC_STATUS.UNIMPLEMENTED) throw error
    }
  }
  const hint = 'give its .proto file with --proto, or add @grpc/reflection to the server'
  throw new Failure(EXIT.errorStatus, 'no-reflection', `the server of '${symbol}' has no reflection; ${hint}`)
}

async function reflectBy(connect: Connect, version: string, symbol: string): Promise<Buffer> {
  const definitions = loadProtoLoader().fromJSON(protocol(version), { keepCase: true, bytes: Buffer })
  const service = definitions[`grpc.reflection.${version}.ServerReflection`] as loader.ServiceDefinition
  const readers = service.Descriptors as loader.MethodDefinition<object, { name: string; dependency?: string[] }>
  const promises = connect(service)
  const found = new Map<string, Buffer>()
  const awaited: object[] = [{ fileContainingSymbol: symbol }]
  for (let asked = awaited.pop(); asked !== undefined; asked = awaited.pop()) {
    for (const file of await ask(promises, asked, symbol)) {
      const { name, dependency = [] } = readers.responseDeserialize(file)
      if (found.has(name)) continue
      found.set(name, file)
      if (found.size > MOST_FILES) throw unreadable(`more than ${MOST_FILES} files`)
      awaited.push(...dependency.map((fileByFilename) => ({ fileByFilename })))
    }
    // Servers send what a file imports along with it.
    while (awaited.length > 0 && found.has((awaited.at(-1) as { fileByFilename: string }).fileByFilename)) awaited.pop()
  }
  return readers.requestSerialize({ file: [...found.values()] })
}

async function ask(promises: Promises, request: object, symbol: string): Promise<readonly Buffer[]> {
  for await (const answer of promises.ServerReflectionInfo!([request]) as AsyncIterable<Answer>) {
    if (answer.errorResponse) {
      const { errorMessage } = answer.errorResponse
      throw new Failure(EXIT.errorStatus, 'not-found', `the server does not describe '${symbol}': ${errorMessage}`)
    }
    const files = answer.fileDescriptorResponse?.fileDescriptorProto
    if (files !== undefined && files.length > 0) return files
    throw unreadable('no file')
  }
  throw unreadable('nothing')
}

function unreadable(what: string): Failure {
  return new Failure(EXIT.errorStatus, 'unexpected-answer', `the server's reflection answered with ${what}`)
}
