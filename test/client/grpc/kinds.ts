/**
 * The four kinds of gRPC call in one shape, so that one table of faults serves them all; unary
 * twice, because `Get` may be repeated.
 */
import * as grpc from '@grpc/grpc-js'
import type { GrpcClient } from '../../../src/client/grpc/client.ts'
import type { GrpcCallOptions } from '../../../src/client/grpc/promises/promises.ts'
import type { Done, Item, Shop, Stock } from './rig.ts'

/** How a call ended for its caller. */
export interface Ended {
  readonly error: grpc.ServiceError | undefined
  readonly answers: readonly Stock[]
}

export interface Begun {
  cancel(): void
  readonly ended: Promise<Ended>
}

export interface Kind {
  readonly name: 'take' | 'get' | 'upload' | 'watch' | 'chat'
  /** The answer is one message. */
  readonly answersOnce: boolean
  /** As a promise or an async iterable, to its end. */
  run(client: GrpcClient<Shop>, options?: GrpcCallOptions): Promise<Ended>
  /** By the client's own method. */
  begin(client: GrpcClient<Shop>, options?: grpc.CallOptions, metadata?: grpc.Metadata): Begun
}

const ITEMS: readonly Item[] = [{ sku: 'a' }, { sku: 'b' }]

function single(name: 'take' | 'get'): Kind {
  return {
    name,
    answersOnce: true,
    run: (client, options) => promised(client.promises[name](ITEMS[0]!, options)),
    begin: (client, options = {}, metadata = new grpc.Metadata()) =>
      calledBack((done) => client[name](ITEMS[0]!, metadata, options, done)),
  }
}

const upload: Kind = {
  name: 'upload',
  answersOnce: true,
  run: (client, options) => promised(client.promises.upload(ITEMS, options)),
  begin: (client, options = {}, metadata = new grpc.Metadata()) =>
    calledBack((done) => {
      const call = client.upload(metadata, options, done)
      for (const item of ITEMS) call.write(item)
      call.end()
      return call
    }),
}

const watch: Kind = {
  name: 'watch',
  answersOnce: false,
  run: (client, options) => collected(client.promises.watch(ITEMS[0]!, options)),
  begin: (client, options = {}, metadata = new grpc.Metadata()) => heard(client.watch(ITEMS[0]!, metadata, options)),
}

const chat: Kind = {
  name: 'chat',
  answersOnce: false,
  run: (client, options) => collected(client.promises.chat(ITEMS, options)),
  begin(client, options = {}, metadata = new grpc.Metadata()) {
    const call = client.chat(metadata, options)
    for (const item of ITEMS) call.write(item)
    call.end()
    return heard(call)
  },
}

export const KINDS: readonly Kind[] = [single('take'), upload, watch, chat]
/** Those of which the `.proto` says that they may be repeated. */
export const GET = single('get')

async function promised(answer: Promise<Stock>): Promise<Ended> {
  try {
    return { error: undefined, answers: [await answer] }
  } catch (error) {
    return { error: error as grpc.ServiceError, answers: [] }
  }
}

async function collected(stream: AsyncIterable<Stock>): Promise<Ended> {
  const answers: Stock[] = []
  try {
    for await (const answer of stream) answers.push(answer)
    return { error: undefined, answers }
  } catch (error) {
    return { error: error as grpc.ServiceError, answers }
  }
}

function calledBack(begin: (done: Done) => { cancel(): void }): Begun {
  let call!: { cancel(): void }
  const ended = new Promise<Ended>((resolve) => {
    call = begin((error, value) =>
      resolve(error === null ? { error: undefined, answers: [value!] } : { error, answers: [] }),
    )
  })
  return { cancel: () => call.cancel(), ended }
}

function heard(call: grpc.ClientReadableStream<Stock>): Begun {
  const answers: Stock[] = []
  let error: grpc.ServiceError | undefined
  const ended = new Promise<Ended>((resolve) => {
    call.on('data', (answer: Stock) => answers.push(answer))
    call.on('error', (reason: grpc.ServiceError) => {
      error = reason
    })
    call.on('status', ({ code }: grpc.StatusObject) => {
      if (code === grpc.status.OK) call.once('end', () => resolve({ error: undefined, answers }))
      else resolve({ error, answers })
    })
  })
  return { cancel: () => call.cancel(), ended }
}
