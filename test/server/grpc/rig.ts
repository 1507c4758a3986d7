/** A gRPC server without a mesh, and clients of it that know nothing of meshes. */
import * as grpc from '@grpc/grpc-js'
import { onTestFinished } from 'vitest'
import { compileIntentions } from '../../../src/server/authorization/intentions.ts'
import { currentCall } from '../../../src/server/current-call.ts'
import type { GrpcServerOptions } from '../../../src/server/grpc/options.ts'
import { type GrpcServer, serveGrpc } from '../../../src/server/grpc/server.ts'
import type { ServerBaseDependencies } from '../../../src/server/server-base.ts'
import { newIdentity } from '../../rigs/certificates.ts'
import { MuxChannel } from '../../rigs/mux-channel.ts'
import { OVER_MUX } from '../../rigs/mux-gateway.ts'
import { FRAME, RawHttp2 } from '../../rigs/raw-http2.ts'
import { type Kind, Shop, type ShopClient, type ShopHandlers, shopServer } from '../../rigs/shop.ts'
import { authority, clientOf, FakeIdentitySource, RecordedEvents, serverStack } from '../rig.ts'

export interface ServedGrpc {
  readonly server: GrpcServer
  readonly events: RecordedEvents
  readonly identity: FakeIdentitySource
}

/** Closed when the test ends. */
export async function serveShop(
  handlers: ShopHandlers | grpc.Server,
  options: GrpcServerOptions = {},
  dependencies: Partial<ServerBaseDependencies> = {},
): Promise<ServedGrpc> {
  const events = new RecordedEvents()
  const identity = new FakeIdentitySource(newIdentity(authority, 'inventory'))
  const server = await serveGrpc(
    handlers instanceof grpc.Server ? handlers : shopServer(handlers),
    { mode: 'plaintext', ...options },
    {
      service: 'inventory',
      identity,
      authorizer: compileIntentions([], 'allow'),
      stack: serverStack(),
      events,
      transport: OVER_MUX ? 'auto' : 'http1',
      ...dependencies,
    },
  )
  onTestFinished(async () => {
    await server.close()
  })
  return { server, events, identity }
}

/**
 * A client of grpc-js, on a separate connection; plaintext without a certificate. Closed when
 * the test ends.
 */
export function shopClient(
  port: number,
  as?: { readonly key: string; readonly cert: string },
  options: Partial<grpc.ChannelOptions> = {},
): ShopClient {
  return OVER_MUX ? muxShopClient(port, as, options) : http2ShopClient(port, as, options)
}

/** The same over HTTP/2, whatever this run is over. */
export function http2ShopClient(
  port: number,
  as?: { readonly key: string; readonly cert: string },
  options: Partial<grpc.ChannelOptions> = {},
): ShopClient {
  const credentials =
    as === undefined
      ? grpc.credentials.createInsecure()
      : grpc.credentials.createSsl(Buffer.from(authority.certificate), Buffer.from(as.key), Buffer.from(as.cert), {
          checkServerIdentity: () => undefined,
        })
  const client = new Shop(`127.0.0.1:${port}`, credentials, {
    'grpc.use_local_subchannel_pool': 1,
    ...options,
  })
  onTestFinished(() => client.close())
  return client
}

/** The same over `inmesh/1`. */
export function muxShopClient(
  port: number,
  as?: { readonly key: string; readonly cert: string },
  options: Partial<grpc.ChannelOptions> = {},
): ShopClient {
  const most = options['grpc.max_receive_message_length']
  const channel = new MuxChannel(port, {
    ...(as !== undefined && { ...as, ca: authority.certificate }),
    ...(most !== undefined && { largestMessage: most }),
  })
  const given = { channelOverride: channel } as never
  const client = new Shop('mux', grpc.credentials.createInsecure(), given)
  onTestFinished(() => client.close())
  return client
}

export function meshClient(port: number, service = 'checkout'): ShopClient {
  return shopClient(port, clientOf(service))
}

export function metadata(pairs: Readonly<Record<string, string>>): grpc.Metadata {
  const made = new grpc.Metadata()
  for (const [name, value] of Object.entries(pairs)) made.set(name, value)
  return made
}

/** Headers of a call, for frames by hand. */
export function callHeaders(
  path: string,
  more: Readonly<Record<string, string>> = {},
): Readonly<Record<string, string>> {
  return {
    ':method': 'POST',
    ':scheme': 'http',
    ':path': path,
    ':authority': 'inventory',
    'content-type': 'application/grpc+proto',
    te: 'trailers',
    ...more,
  }
}

/** A connection for raw frames, with its SETTINGS exchanged. Closed when the test ends. */
export async function rawClient(port: number, as?: { readonly key: string; readonly cert: string }): Promise<RawHttp2> {
  const tls = { ...as, ca: authority.certificate, checkServerIdentity: () => undefined }
  const raw = await RawHttp2.connect(port, as === undefined ? undefined : tls)
  onTestFinished(() => raw.close())
  await raw.frame(({ type }) => type === FRAME.settings)
  return raw
}

/** What happened in handlers of all four kinds, which wait for what the test does to them. */
export class Witness {
  readonly begun: Kind[] = []
  readonly aborted: unknown[] = []
  readonly cancelled: Kind[] = []
  /** Uploads and chats of which the handler believes to have everything. */
  readonly complete: Kind[] = []
  readonly received: string[] = []

  readonly handlers: ShopHandlers = {
    Get: (call) => this.#began('get', call),
    Upload: (call) => {
      this.#began('upload', call)
      call.on('data', ({ sku }) => this.received.push(sku))
      call.on('end', () => this.complete.push('upload'))
    },
    Watch: (call) => this.#began('watch', call),
    Chat: (call) => {
      this.#began('chat', call)
      call.on('data', ({ sku }) => this.received.push(sku))
      call.on('end', () => this.complete.push('chat'))
    },
  }

  #began(kind: Kind, call: { on(event: 'cancelled', listener: () => void): unknown }): void {
    this.begun.push(kind)
    const { signal } = currentCall()!
    signal.addEventListener('abort', () => this.aborted.push(signal.reason))
    call.on('cancelled', () => this.cancelled.push(kind))
  }
}
