/** The nodes of an etcd cluster. One is in use at a time; a failure moves to the next. */
import { isIP } from 'node:net'
import { checkServerIdentity, type PeerCertificate } from 'node:tls'
import type * as grpc from '@grpc/grpc-js'
import type { ResolvedEtcdOptions } from './options.ts'

export interface Endpoint {
  /** `host:port`. */
  readonly address: string
  readonly client: grpc.Client
}

/** etcd closes connections that ping more often than every 5 s. */
const KEEPALIVE_MS = 10_000

export class Endpoints {
  readonly #grpc: typeof grpc
  readonly #addresses: readonly string[]
  readonly #tls: ResolvedEtcdOptions['tls']
  readonly #open = new Map<string, Endpoint>()
  /** The first one at random, so that registries spread over the nodes. */
  #index: number
  #closed = false

  constructor(module: typeof grpc, { endpoints, tls }: ResolvedEtcdOptions) {
    this.#grpc = module
    this.#addresses = endpoints
    this.#index = Math.floor(Math.random() * endpoints.length)
    this.#tls = tls
  }

  get size(): number {
    return this.#addresses.length
  }

  get current(): Endpoint {
    const address = this.#addresses[this.#index]!
    let endpoint = this.#open.get(address)
    if (endpoint === undefined) {
      endpoint = { address, client: this.#connect(address) }
      this.#open.set(address, endpoint)
    }
    return endpoint
  }

  /**
   * It has failed: the next one is in use, unless another has been already. The connection of an
   * unresponsive one is not used again, because a broken path leaves it dead for minutes.
   */
  leave(endpoint: Endpoint, unresponsive: boolean): void {
    if (unresponsive && this.#open.get(endpoint.address) === endpoint) {
      this.#open.delete(endpoint.address)
      endpoint.client.close()
    }
    if (this.#closed || endpoint.address !== this.#addresses[this.#index]) return
    this.#index = (this.#index + 1) % this.#addresses.length
  }

  close(): void {
    this.#closed = true
    for (const { client } of this.#open.values()) client.close()
    this.#open.clear()
  }

  #connect(address: string): grpc.Client {
    const { credentials, ...secure } = secured(this.#grpc, address, this.#tls)
    return new this.#grpc.Client(address, credentials, {
      ...secure,
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
      'grpc.keepalive_time_ms': KEEPALIVE_MS,
      'grpc.keepalive_timeout_ms': 3_000,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1_000,
      'grpc.enable_retries': 0,
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      // Two registries in one process must not share a connection that one of them closes.
      'grpc.use_local_subchannel_pool': 1,
    })
  }
}

/** Credentials for an address, with the options that belong to them. */
function secured(module: typeof grpc, address: string, tls: ResolvedEtcdOptions['tls']) {
  if (tls === undefined) return { credentials: module.credentials.createInsecure() }
  const bytes = (pem: string | undefined): Buffer | null => (pem === undefined ? null : Buffer.from(pem))
  const { ca, cert, key } = tls
  const host = address.slice(0, address.lastIndexOf(':')).replaceAll(/[[\]]/g, '')
  if (isIP(host) === 0) return { credentials: module.credentials.createSsl(bytes(ca), bytes(key), bytes(cert)) }
  // An address is no server name, so another name is sent and the address is what is verified.
  const verified = { checkServerIdentity: (_name: string, peer: PeerCertificate) => checkServerIdentity(host, peer) }
  const credentials = module.credentials.createSsl(bytes(ca), bytes(key), bytes(cert), verified)
  return { credentials, 'grpc.ssl_target_name_override': 'etcd' }
}
