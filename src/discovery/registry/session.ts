/**
 * One session with a registry: the search for one that greets us, its requests and heartbeats, and
 * its end.
 */
import type { ConnectionOptions } from 'node:tls'
import type { Clock, Timer } from '../../core/clock.ts'
import { MeshError } from '../../core/errors.ts'
import type { RegistryAddresses } from './addresses.ts'
import { type Greeting, SessionConnection } from './connection.ts'
import { RegistryDial } from './dial.ts'
import { type Done, PASSING, PendingAnswers } from './pending-answers.ts'
import { lookupOf, type RegistryTarget } from './target.ts'
import type { ClientMessage, ServerMessage } from './wire.ts'

export type Welcome = Extract<ServerMessage, { type: 'welcome' }>

export interface RegistrySessionOptions {
  readonly addresses: RegistryAddresses
  readonly greeting: Greeting
  readonly tls: () => ConnectionOptions
  readonly clock: Clock
  /** Not at this one, unless there is no other. */
  readonly except?: RegistryTarget | undefined
}

export interface RegistrySessionListener {
  /** Once, before its first message. */
  greeted(session: RegistrySession, welcome: Welcome): void
  /** The registry said something. */
  heard(): void
  /** A heartbeat was sent. */
  beaten(session: RegistrySession, first: boolean): void
  /** Answers to requests are not among them. */
  message(session: RegistrySession, message: ServerMessage): void
  refused(code: string, message: string): void
  rejected(reason: string): void
  unreachable(url: string, reason: string): void
  /** Once, when no address answers. */
  failed(session: RegistrySession): void
  /** Once, when the session that stood has ended, other than by us. */
  lost(session: RegistrySession, reason: string): void
}

export class RegistrySession {
  readonly #clock: Clock
  readonly #service: string
  readonly #listener: RegistrySessionListener
  readonly #dial: RegistryDial
  readonly #answers: PendingAnswers
  #connection: SessionConnection | undefined
  #target: RegistryTarget | undefined
  #welcome: Welcome | undefined
  #beat: Timer | undefined

  constructor({ addresses, greeting, tls, clock, except }: RegistrySessionOptions, listener: RegistrySessionListener) {
    this.#clock = clock
    this.#service = greeting.service
    this.#listener = listener
    this.#answers = new PendingAnswers(clock)
    this.#dial = new RegistryDial(() => addresses.targets(except), clock, {
      open: (target, heard) => {
        const connection = new SessionConnection(target.url, { ...tls(), ...lookupOf(target) }, clock, heard)
        connection.greet(greeting)
        return connection
      },
      connected: (target, connection) => {
        this.#target = target
        this.#connection = connection
      },
      message: (_target, message) => this.#receive(message),
      rejected: (reason) => listener.rejected(reason),
      unreachable: (url, reason) => listener.unreachable(url, reason),
      failed: () => listener.failed(this),
      lost: (_target, reason) => {
        this.#end(reason)
        listener.lost(this, reason)
      },
    })
  }

  start(): void {
    this.#dial.start()
  }

  /** Of the registry that has greeted us. */
  get target(): RegistryTarget | undefined {
    return this.#target
  }

  /** The greeting, while the session stands. */
  get welcome(): Welcome | undefined {
    return this.#welcome
  }

  /** It stands, and its stream takes more. */
  get isReady(): boolean {
    return this.#welcome !== undefined && this.#connection?.isReady === true
  }

  send(message: ClientMessage): void {
    this.#connection?.send(message)
  }

  ask(message: (ref: number) => ClientMessage): Promise<Done> {
    return this.#answers.ask((ref) => this.send(message(ref)), this.#welcome !== undefined)
  }

  /** Resolves when no request waits for its answer. */
  settled(): Promise<void> {
    return this.#answers.settled()
  }

  /** At once. What waits for an answer fails. */
  close(reason: string): void {
    this.#dial.close()
    this.#end(reason)
  }

  /** For good. Resolves when the registry has received it, after 500 ms at the latest. */
  async leave(watched: Iterable<string>, code: 'closed' | 'registry-unavailable', reason: string): Promise<void> {
    const left = this.#dial.leave(watched)
    this.#end(reason, code)
    await left
  }

  #end(reason: string, code: 'closed' | 'registry-unavailable' = 'registry-unavailable'): void {
    this.#welcome = undefined
    this.#connection = undefined
    if (this.#beat !== undefined) this.#clock.stopTimer(this.#beat)
    this.#beat = undefined
    this.#answers.failAll(() => new MeshError(reason, { code }))
  }

  #receive(message: ServerMessage): void {
    this.#listener.heard()
    switch (message.type) {
      case 'welcome':
        if (this.#welcome !== undefined) return
        this.#welcome = message
        this.#listener.greeted(this, message)
        this.#beatEach(message.beatMs, true)
        return
      case 'done':
        this.#answers.settle(message.ref, message)
        return
      case 'error':
        this.#listener.refused(message.code, message.message)
        if (message.ref !== undefined) {
          const code = PASSING.has(message.code) ? 'registry-unavailable' : 'registry-refused'
          this.#answers.settle(message.ref, new MeshError(message.message, { code, service: this.#service }))
        }
        return
      case 'part':
        return
      default:
        this.#listener.message(this, message)
    }
  }

  #beatEach(everyMs: number, first = false): void {
    if (this.#connection === undefined) return
    // Before it, because a heartbeat that finds the registry silent ends the session.
    this.#beat = this.#clock.startBackgroundTimer(everyMs, () => this.#beatEach(everyMs), undefined)
    this.#connection.beat()
    this.#listener.beaten(this, first)
  }
}
