/**
 * Requests and streams to etcd: the node in use, the token of a user, a bound for every wait.
 */
import type * as grpc from '@grpc/grpc-js'
import { StorageError } from '../errors.ts'
import { type Endpoint, Endpoints } from './endpoints.ts'
import { EtcdFailure } from './failure.ts'
import { type Definitions, loadProtocol } from './load-protocol.ts'
import type { Methods, Streams } from './messages.ts'
import type { ResolvedEtcdOptions } from './options.ts'
import { backoff, pause } from './pause.ts'

/** One attempt: above it another node is likely to answer sooner. */
const ATTEMPT_MS = 1_000
/** The first few, so that the election of a leader costs little more than it takes. */
const EARLY_ATTEMPT_MS = 500
const EARLY_ATTEMPTS = 5
const LONGEST_PAUSE_MS = 250
/** etcd hashes a password slowly on purpose: on a busy machine longer than an attempt takes. */
const AUTHENTICATION_MS = 3_000

export interface Stream<S extends keyof Streams> {
  readonly endpoint: Endpoint
  readonly call: grpc.ClientDuplexStream<Streams[S][0], Streams[S][1]>
}

export class EtcdClient {
  readonly endpoints: Endpoints
  /** Where its keys begin. */
  readonly prefix: string
  readonly #grpc: typeof grpc
  readonly #definitions: Definitions
  readonly #user: ResolvedEtcdOptions['user']
  readonly #closing = new AbortController()
  #token: Promise<string> | undefined

  /** @throws OptionsError if a package is missing, or a certificate cannot be read */
  constructor(options: ResolvedEtcdOptions) {
    const { module, definitions } = loadProtocol()
    this.#grpc = module
    this.#definitions = definitions
    this.#user = options.user
    this.prefix = options.prefix
    this.endpoints = new Endpoints(module, options)
  }

  /** Aborts when it is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal
  }

  /**
   * One attempt at the node in use, which is left if it fails. `timeoutMs`: without authentication.
   *
   * @throws EtcdFailure
   */
  async attempt<M extends keyof Methods>(
    method: M,
    request: Methods[M][0],
    timeoutMs = ATTEMPT_MS,
  ): Promise<Methods[M][1]> {
    for (let again = false; ; again = true) {
      const { endpoint } = this.#current()
      const token = this.#token
      try {
        const alone = 'serializable' in request && request.serializable === true
        const metadata = await this.#metadata(endpoint, alone)
        return await this.#unary(endpoint, method, request, metadata, performance.now() + timeoutMs)
      } catch (error) {
        const failure = error as EtcdFailure
        if (failure.kind === 'token' && this.#token === token) this.#token = undefined
        if (failure.kind === 'token' && this.#user !== undefined && !again) continue
        // A short attempt shows only that this one is not answered.
        const dead = failure.unresponsive && timeoutMs >= ATTEMPT_MS
        if (failure.kind === 'transient') this.endpoints.leave(endpoint, dead)
        throw failure
      }
    }
  }

  /**
   * Attempts until one succeeds, fails for good, or `withinMs` are over.
   *
   * @throws EtcdFailure the last one, unless the end of the time cut it off: then the one before
   */
  async ask<M extends keyof Methods>(method: M, request: Methods[M][0], withinMs: number): Promise<Methods[M][1]> {
    const until = performance.now() + withinMs
    let known: EtcdFailure | undefined
    for (let tries = 0; ; tries++) {
      const left = until - performance.now()
      const most = tries < EARLY_ATTEMPTS ? EARLY_ATTEMPT_MS : ATTEMPT_MS
      try {
        return await this.attempt(method, request, Math.max(1, Math.min(left, most)))
      } catch (error) {
        const failure = error as EtcdFailure
        if (failure.kind !== 'transient') throw failure
        if (known === undefined || left >= most || !failure.unresponsive) known = failure
        if (performance.now() >= until || this.closing.aborted) throw known
      }
      await this.pause(tries, LONGEST_PAUSE_MS)
    }
  }

  /** Before the next attempt; hardly at all while there are nodes that were not asked yet. */
  async pause(tries: number, most: number): Promise<void> {
    await pause(backoff(Math.max(0, tries - this.endpoints.size + 1), most), this.closing)
  }

  /** A stream to the node in use. Its reader reports a failure by `failed`. */
  async open<S extends keyof Streams>(stream: S): Promise<Stream<S>> {
    const { endpoint } = this.#current()
    const { path, requestSerialize, responseDeserialize } = this.#definitions[stream]
    const metadata = await this.#metadata(endpoint)
    const call = endpoint.client.makeBidiStreamRequest<Streams[S][0], Streams[S][1]>(
      path,
      requestSerialize,
      responseDeserialize as (bytes: Buffer) => Streams[S][1],
      metadata,
    )
    return { endpoint, call }
  }

  /** The node of a stream has failed. */
  failed(endpoint: Endpoint, failure: EtcdFailure): void {
    if (failure.kind === 'token') this.#token = undefined
    this.endpoints.leave(endpoint, failure.unresponsive)
  }

  close(): void {
    this.#closing.abort()
    this.endpoints.close()
  }

  #current(): { endpoint: Endpoint } {
    if (this.closing.aborted) throw new StorageError('the store is closed')
    return { endpoint: this.endpoints.current }
  }

  /** `alone`: for what a node without a leader can answer. */
  async #metadata(endpoint: Endpoint, alone = false): Promise<grpc.Metadata> {
    const metadata = new this.#grpc.Metadata()
    // A node that has lost its leader then says so at once, and does not wait for one.
    if (!alone) metadata.set('hasleader', 'true')
    if (this.#user !== undefined) metadata.set('token', await this.#authenticate(endpoint))
    return metadata
  }

  /** All requests that wait for a token share one. */
  #authenticate(endpoint: Endpoint): Promise<string> {
    if (this.#token === undefined) {
      const { name, password } = this.#user!
      const metadata = new this.#grpc.Metadata()
      const until = performance.now() + AUTHENTICATION_MS
      const asked = this.#unary(endpoint, 'Auth.Authenticate', { name, password }, metadata, until)
      const token = asked.then((answer) => answer.token)
      this.#token = token
      token.catch(() => {
        if (this.#token === token) this.#token = undefined
      })
    }
    return this.#token
  }

  #unary<M extends keyof Methods>(
    { address, client }: Endpoint,
    method: M,
    request: Methods[M][0],
    metadata: grpc.Metadata,
    until: number,
  ): Promise<Methods[M][1]> {
    // grpc-js takes wall-clock deadlines; ours are monotonic, because the clock may leap.
    const deadline = Date.now() + until - performance.now()
    const { path, requestSerialize, responseDeserialize } = this.#definitions[method]
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest<Methods[M][0], Methods[M][1]>(
        path,
        requestSerialize,
        responseDeserialize as (bytes: Buffer) => Methods[M][1],
        request,
        metadata,
        { deadline },
        (error, answer) => (error === null ? resolve(answer!) : reject(new EtcdFailure(address, error))),
      )
    })
  }
}
