/**
 * A method has the same names for the client, its promises, the options, and the service's
 * document.
 */
import * as grpc from '@grpc/grpc-js'
import { fromJSON } from '@grpc/proto-loader'
import { describe, expect, it } from 'vitest'
import type { Destination } from '../../../src/client/destination.ts'
import { type GrpcClientClass, type GrpcClientOptions, makeGrpcClient } from '../../../src/client/grpc/client.ts'
import type { Grpc } from '../../../src/client/grpc/grpc-js.ts'
import { GrpcTransport } from '../../../src/client/grpc/transport.ts'
import { systemClock } from '../../../src/core/clock.ts'
import { GRPC_STATUS } from '../../../src/core/status.ts'
import { PREFERENCE } from '../../rigs/mux-gateway.ts'
import { opened } from '../http/opened.ts'
import { type GrpcRigOptions, grpcRigOver, serveGrpc } from './rig.ts'

/** A client class of a service with methods of these names, as `loadPackageDefinition` makes it. */
function loaded(...names: string[]) {
  const method = { requestType: 'Word', responseType: 'Word', comment: '' }
  const definition = fromJSON({
    nested: {
      test: {
        nested: {
          Word: { fields: { text: { type: 'string', id: 1 } } },
          Words: { methods: Object.fromEntries(names.map((name) => [name, method])) },
        },
      },
    },
  })
  const { test } = grpc.loadPackageDefinition(definition) as unknown as { test: { Words: unknown } }
  return test.Words as GrpcClientClass<grpc.Client> & { service: Record<string, { path: string }> }
}

/**
 * A server that notes the paths it was called by, and fails each call as often as it may be
 * repeated.
 */
async function rigOf(Client: GrpcClientClass<grpc.Client>, client?: GrpcClientOptions, rig: GrpcRigOptions = {}) {
  const server = await serveGrpc(async (call) => {
    await call.message()
    call.finish(GRPC_STATUS.UNAVAILABLE, 'busy')
  })
  const stack = grpcRigOver([server.port], { retry: { attempts: 2, ...rig.retry } })
  const transport = new GrpcTransport({ grpc: grpc as unknown as Grpc, clock: systemClock, preference: PREFERENCE })
  opened({ close: () => transport.close(0) })
  const destination = {
    service: stack.service,
    cluster: stack.cluster,
    transport,
    clock: systemClock,
    settings: { retry: stack.stack().retry.settings },
    select: () => ({ stack: stack.stack() }),
    unrouted: () => ({ stack: stack.stack() }),
  }
  const made = makeGrpcClient(
    Client,
    destination as unknown as Destination<GrpcTransport>,
    client,
    () => destination as unknown as Destination<GrpcTransport>,
  ) as unknown as Words
  return {
    client: made,
    paths: () => server.calls.map(({ headers }) => headers[':path']!.slice('/test.Words/'.length)),
  }
}

type Call = (request: object) => Promise<unknown>
type Words = grpc.Client &
  Record<string, (request: object, done: (error: unknown) => void) => void> & {
    readonly promises: Record<string, Call>
  }

const PROTO = ['GetItemByID', 'get_stock', 'ListV2Items', 'Plain', 'HTTPGet', 'a', 'X']

/** All names under which grpc-js put a method on the class. */
function namesOn(Client: { prototype: object }): string[] {
  return Object.keys(Client.prototype)
}

describe('a loaded client', () => {
  it('has a promise, and takes `idempotent` and `shortStreams`, by every name of each method', async () => {
    const Client = loaded(...PROTO)
    const names = namesOn(Client as unknown as { prototype: object })
    expect(names).toContain('getItemById')
    const { client, paths } = await rigOf(Client)
    expect(Object.keys(client.promises).toSorted()).toEqual(names.toSorted())
    for (const name of names) {
      await client.promises[name]!({}).catch(() => {})
      await new Promise((resolve) => client[name]!({}, resolve))
      const [last, before] = paths().toReversed()
      expect([name, last]).toEqual([name, before])
    }
    for (const name of names) {
      const { client: one, paths: called } = await rigOf(Client, { idempotent: [name], shortStreams: [name] })
      await one.promises[name]!({}).catch(() => {})
      expect([name, called().length]).toEqual([name, 2])
    }
  })

  it('is idempotent by every name that the document has for a method', async () => {
    const Client = loaded(...PROTO)
    for (const name of namesOn(Client as unknown as { prototype: object })) {
      const { client, paths } = await rigOf(Client, undefined, { retry: { idempotent: [`test.Words/${name}`] } })
      await client.promises[name]!({}).catch(() => {})
      expect([name, paths().length]).toEqual([name, 2])
    }
  })

  it('keeps two methods apart whose names differ in their first letter only', async () => {
    const { client, paths } = await rigOf(loaded('Get', 'get'), { idempotent: ['get'] })
    await client.promises.Get!({}).catch(() => {})
    await client.promises.get!({}).catch(() => {})
    expect(paths()).toEqual(['Get', 'get', 'get'])
  })

  it('calls methods that have the names of its own members', async () => {
    const names = ['Close', 'Promises', 'Then', 'GetChannel', 'WaitForReady', 'MakeUnaryRequest', 'ToString', 'Name']
    const { client, paths } = await rigOf(loaded(...names))
    for (const name of names) await client.promises[name]!({}).catch(() => {})
    for (const name of ['close', 'promises', 'then', 'toString', 'name']) {
      await client.promises[name]!({}).catch(() => {})
      await new Promise((resolve) => client[name]!({}, resolve))
    }
    const twice = (name: string): string[] => [name, name]
    expect(paths()).toEqual([...names, ...['Close', 'Promises', 'Then', 'ToString', 'Name'].flatMap(twice)])
  })

  it('has no promise for what grpc-js leaves out, and says so where it is named', async () => {
    const Client = loaded('constructor', 'Constructor', 'Plain')
    const { client, paths } = await rigOf(Client)
    expect(Object.keys(client.promises).toSorted()).toEqual(['Constructor', 'Plain', 'plain'])
    expect([client.promises.constructor, client.promises.toString]).toEqual([undefined, undefined])
    await client.promises.Constructor!({}).catch(() => {})
    expect(paths()).toEqual(['Constructor'])
    await expect(rigOf(Client, { idempotent: ['list'] })).rejects.toThrow(
      'mesh.grpc: idempotent[0]: is no method of the client; they are Constructor, plain',
    )
  })
})

describe('a class that extends a loaded one', () => {
  it('has its own methods in place of those it overrides, and none of every client', async () => {
    let told = 0
    const Base = loaded('Get', 'Close') as unknown as new (...args: unknown[]) => Record<string, Call>
    class Own extends Base {
      get(...args: [object]) {
        told += 1
        return this.Get!(...args)
      }
    }
    const { client, paths } = await rigOf(Own as unknown as GrpcClientClass<grpc.Client>, { idempotent: ['get'] })
    await client.promises.get!({}).catch(() => {})
    expect([told, paths()]).toEqual([1, ['Get', 'Get']])
  })

  it('whose definition has no second names does not take the members of grpc-js for methods', async () => {
    const { service } = loaded('Close')
    const { originalName: _, ...close } = service.Close as unknown as Record<string, unknown>
    const Client = grpc.makeClientConstructor({ Close: close } as never, 'test.Words')
    const { client } = await rigOf(Client as unknown as GrpcClientClass<grpc.Client>)
    expect(Object.keys(client.promises)).toEqual(['Close'])
    expect(client.close).toBe(grpc.Client.prototype.close)
  })
})
