/**
 * Clients and channels of grpc-js whose target is a service. Generated code constructs them, so
 * the classes are replaced by proxies that construct ours.
 */
import { type GrpcServiceDefinition, isDefinition } from '../client/grpc/definitions.ts'
import type { GrpcChannelOptions } from '../client/grpc/override.ts'
import type { AutoHost } from './auto-host.ts'
import { LaterCall } from './later-call.ts'
import { preloadLibrary } from './library.ts'
import type { ModulePatch } from './loaded-modules.ts'

type Class = new (...given: unknown[]) => object

/** A channel as grpc-js's clients call it. */
export interface AnyChannel {
  createCall(...given: unknown[]): object
  close(): void
  getTarget(): string
  getConnectivityState(tryToConnect: boolean): number
  watchConnectivityState(current: number, deadline: unknown, callback: (error?: Error) => void): void
  getChannelzRef(): unknown
}

/** Of grpc-js's `connectivityState`. */
const CONNECTING = 1
const SHUTDOWN = 4

export class GrpcChannels {
  readonly #host: AutoHost

  constructor(host: AutoHost) {
    this.#host = host
  }

  readonly patches: readonly ModulePatch[] = [
    {
      // Clients first: they know their methods.
      file: '@grpc/grpc-js/build/src/client.js',
      name: 'Client',
      patch: (exports) => {
        exports.Client = new Proxy(exports.Client as Class, {
          construct: (target, given, newTarget) => {
            const [address, credentials, options] = given as [unknown, unknown, Record<string, unknown> | undefined]
            const isOwn = options?.channelOverride !== undefined || options?.channelFactoryOverride !== undefined
            const { service } = newTarget as { service?: unknown }
            const definition = isDefinition(service) ? service : undefined
            const native = (): AnyChannel => (Reflect.construct(target, given, newTarget) as Client).getChannel()
            const channel = isOwn ? undefined : this.#channelOf(address, definition, native)
            const args =
              channel === undefined ? given : [address, credentials, { ...options, channelOverride: channel }]
            return Reflect.construct(target, args, newTarget)
          },
        })
      },
    },
    {
      file: '@grpc/grpc-js/build/src/channel.js',
      name: 'ChannelImplementation',
      patch: (exports) => {
        exports.ChannelImplementation = new Proxy(exports.ChannelImplementation as Class, {
          construct: (target, given, newTarget) => {
            const native = (): AnyChannel => Reflect.construct(target, given, newTarget) as AnyChannel
            const channel = this.#channelOf(given[0], undefined, native)
            // Libraries ask for instances of the class.
            return channel === undefined ? native() : Object.setPrototypeOf(bound(channel), newTarget.prototype)
          },
        })
      },
    },
  ]

  #channelOf(
    target: unknown,
    definition: GrpcServiceDefinition | undefined,
    native: () => AnyChannel,
  ): AnyChannel | undefined {
    const host = hostOf(target)
    if (host === undefined) return undefined
    const found = this.#host.services.find(host)
    if (found === undefined) {
      this.#host.report.passed(host, 'gRPC')
      return undefined
    }
    return new AutoChannel(this.#host, host, found, definition, native)
  }
}

interface Client {
  getChannel(): AnyChannel
}

/** A channel that opens the mesh with its first call. */
class AutoChannel implements AnyChannel {
  readonly #host: AutoHost
  readonly #target: string
  readonly #found: string | Promise<string | undefined>
  readonly #options: GrpcChannelOptions | undefined
  readonly #native: () => AnyChannel
  #opening: Promise<AnyChannel> | undefined
  #channel: AnyChannel | undefined
  #service: string | undefined
  #closed = false

  constructor(
    host: AutoHost,
    target: string,
    found: string | Promise<string | undefined>,
    definition: GrpcServiceDefinition | undefined,
    native: () => AnyChannel,
  ) {
    this.#host = host
    this.#target = target
    this.#found = found
    this.#options = definition && { definitions: definition }
    this.#native = native
    // A deadline is known before its call: with a client comes a call.
    if (typeof found === 'string') preloadLibrary()
  }

  createCall(...given: unknown[]): object {
    if (this.#closed) throw new Error('Channel has been shut down')
    if (this.#channel !== undefined) {
      this.#count()
      return this.#channel.createCall(...given)
    }
    const opening = this.#open().then((channel) => {
      this.#count()
      return channel.createCall(...given)
    })
    return new LaterCall(this.#target, given[1], opening as Promise<never>)
  }

  close(): void {
    this.#closed = true
    this.#channel?.close()
  }

  getTarget(): string {
    return this.#channel?.getTarget() ?? `mesh:///${this.#target}`
  }

  getConnectivityState(tryToConnect: boolean): number {
    if (this.#channel !== undefined) return this.#channel.getConnectivityState(tryToConnect)
    if (this.#closed) return SHUTDOWN
    if (tryToConnect) void this.#open().catch(ignore)
    return CONNECTING
  }

  watchConnectivityState(current: number, deadline: unknown, callback: (error?: Error) => void): void {
    if (this.#channel !== undefined) {
      this.#channel.watchConnectivityState(current, deadline, callback)
      return
    }
    this.#open().then((channel) => {
      if (channel.getConnectivityState(false) !== current) callback()
      else channel.watchConnectivityState(current, deadline, callback)
    }, callback)
  }

  getChannelzRef(): unknown {
    return this.#channel?.getChannelzRef() ?? { kind: 'channel', id: -1, name: this.getTarget() }
  }

  #open(): Promise<AnyChannel> {
    this.#opening ??= this.#make().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async #make(): Promise<AnyChannel> {
    // Without a wait, so that the library loads within the program's call.
    const service = typeof this.#found === 'string' ? this.#found : await this.#found
    const channel =
      service === undefined
        ? this.#native()
        : (await this.#host.mesh.open()).grpcChannel<AnyChannel>(service, this.#options)
    this.#service = service
    this.#channel = channel
    if (this.#closed) channel.close()
    return channel
  }

  #count(): void {
    if (this.#service === undefined) this.#host.report.passed(this.#target, 'gRPC')
    else this.#host.report.called(this.#service, 'gRPC')
  }
}

/** With its methods as properties, whatever prototype it gets. */
function bound(channel: AnyChannel): AnyChannel {
  return {
    createCall: (...given) => channel.createCall(...given),
    close: () => channel.close(),
    getTarget: () => channel.getTarget(),
    getConnectivityState: (tryToConnect) => channel.getConnectivityState(tryToConnect),
    watchConnectivityState: (...given) => channel.watchConnectivityState(...given),
    getChannelzRef: () => channel.getChannelzRef(),
  }
}

/** Of `inventory.mesh:50051`, `dns:inventory:9090` and `dns:///inventory.mesh`. */
function hostOf(target: unknown): string | undefined {
  if (typeof target !== 'string') return undefined
  return /^(?:dns:(?:\/\/[^/]*\/)?)?([A-Za-z0-9.-]+)(?::\d+)?$/.exec(target)?.[1]
}

function ignore(): void {}
