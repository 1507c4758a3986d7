/** `inmesh call grpc://…`: one call of any of the four kinds, with messages as JSON. */
import type * as grpc from '@grpc/grpc-js'
import type * as loader from '@grpc/proto-loader'
import { loadGrpc } from '../../../client/grpc/grpc-js.ts'
import { GRPC_STATUS, grpcStatusName } from '../../../core/status.ts'
import { ByteOutput } from '../../byte-output.ts'
import { Failure, invalidUsage } from '../../failure.ts'
import { serviceOfHost } from '../../service-url.ts'
import { printable } from '../../terminal.ts'
import { AbsentService } from '../absent-service.ts'
import { type Calling, callFailure, errorStatus, LARGEST_BODY, readData, sourceOf } from '../call-flags.ts'
import { CallResult } from '../call-result.ts'
import { definitionsOfDescriptors, definitionsOfFiles, type Method, methodOf } from './definitions.ts'
import { checkedMessage, messagesOf } from './messages.ts'
import { reflect } from './reflection.ts'

export interface GrpcUrl {
  readonly service: string
  /** `shop.Inventory` */
  readonly type: string
  /** `Get` */
  readonly name: string
}

const URL_SHAPE = /^grpc:\/\/([^/?#:@]+)\/([\w.]+)\/(\w+)$/i

/** @throws Failure that says what is expected */
export function readGrpcUrl(text: string): GrpcUrl {
  const [, host, type, name] = URL_SHAPE.exec(text) ?? []
  if (host !== undefined && type !== undefined && name !== undefined) {
    return { service: serviceOfHost(host), type, name }
  }
  throw invalidUsage(`expected 'grpc://<service>/<package.Service>/<Method>', got ${JSON.stringify(text)}`)
}

/** @throws Failure with exit code 4 for a status of the service, 5 if the call failed */
export async function callGrpc(calling: Calling, url: GrpcUrl): Promise<void> {
  const { developer, flags, seen } = calling
  const { request, include, stream } = flags
  if (request !== undefined || include === true || stream === true) {
    throw invalidUsage('-X, -i and --stream are for http:// URLs')
  }
  const js = loadGrpc('inmesh call grpc://')
  const connect = (service: loader.ServiceDefinition) => {
    const Client = js.makeGenericClientConstructor(service as grpc.ServiceDefinition, url.type)
    return developer.mesh.grpc(Client as never, url.service).promises as Promises
  }
  const absent = new AbsentService(developer, url.service)
  const shown = { service: url.service, method: `${url.type}/${url.name}`, as: developer.service }
  const result = new CallResult(calling, shown)
  try {
    const definitions =
      flags.proto === undefined
        ? definitionsOfDescriptors(await reflect(boundedBy(connect, calling), url.type))
        : await definitionsOfFiles(flags.proto, flags.importPath)
    const { service, method } = methodOf(definitions, url)
    const requests = await requestsOf(calling, method)
    seen.begin()
    await makeCall(calling, connect(service as loader.ServiceDefinition)[url.name]!, method, requests, result)
  } catch (error) {
    throw result.failed(statusFailure(error, calling, url) ?? callFailure(error, calling, await absent.why()))
  }
}

type Promises = Readonly<
  Record<string, (request: unknown, options?: object) => Promise<object> & AsyncIterable<object>>
>

function boundedBy(connect: (service: loader.ServiceDefinition) => Promises, { flags, signal }: Calling) {
  const timeout = flags.timeout ?? 10_000
  return (service: loader.ServiceDefinition) => {
    const { ServerReflectionInfo } = connect(service)
    return {
      ServerReflectionInfo: (requests: readonly object[]) => ServerReflectionInfo!(requests, { timeout, signal }),
    }
  }
}

/** Checked before the call begins, unless they come as a stream. */
async function requestsOf({ flags, stdin }: Calling, method: Method): Promise<object | AsyncIterable<object>> {
  const { data = '' } = flags
  if (method.requestStream) return messagesOf(sourceOf(data, stdin), method)
  const text = (await readData(data, stdin)).toString()
  return text.trim() === '' ? {} : checkedMessage(text, method, '-d')
}

async function makeCall(
  { developer, flags, signal }: Calling,
  call: Promises[string],
  method: Method,
  requests: object | AsyncIterable<object>,
  result: CallResult,
): Promise<void> {
  const { terminal } = developer
  const { Metadata } = loadGrpc('inmesh call grpc://')
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(flags.header ?? {})) metadata.set(name, metadataValue(name, value))
  const options = { metadata, signal, ...(flags.timeout !== undefined && { timeout: flags.timeout }) }
  const made = call(requests, options)
  const output = new ByteOutput(terminal.stdout)
  const messages: object[] = []
  let size = 0
  for await (const message of method.responseStream ? made : [await made]) {
    const indent = output.isTerminal && !method.responseStream ? 2 : undefined
    const text = JSON.stringify(message, null, indent)
    if (!terminal.json) await output.write(Buffer.from(`${text}\n`), signal)
    else {
      size += text.length
      if (size > LARGEST_BODY) throw result.tooLarge()
      messages.push(message)
    }
  }
  result.succeeded({ status: 'OK', ...(method.responseStream ? { messages } : { message: messages[0] }) })
}

/** Names that end in `-bin` hold bytes, given as base64. */
function metadataValue(name: string, value: string): string | Buffer {
  return name.endsWith('-bin') ? Buffer.from(value, 'base64') : value
}

/** `undefined`: it was not the service that ended the call. */
function statusFailure(error: unknown, calling: Calling, { service, type, name }: GrpcUrl): Failure | undefined {
  const { code, details } = error as Partial<grpc.ServiceError>
  const { call } = calling.seen
  if (error instanceof Failure || typeof code !== 'number' || call?.status === undefined) return undefined
  const what = `'${service}' answered ${grpcStatusName(code)}${details ? `: ${printable(details)}` : ''}`
  const asked = `grpc ${service} ${type}/${name} --from ${calling.developer.service}`
  return errorStatus(what, call.code, code === GRPC_STATUS.PERMISSION_DENIED, asked)
}
