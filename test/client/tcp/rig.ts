/** TCP connections to fixed endpoints, without registry or mesh. Closed when the test ends. */
import type { Socket } from 'node:net'
import { onTestFinished } from 'vitest'
import type { Selection, Selector } from '../../../src/client/selection.ts'
import { type ConnectOptions, resolveConnect } from '../../../src/client/tcp/options.ts'
import { MeshSocket } from '../../../src/client/tcp/socket.ts'
import { TcpTransport, type TcpTransportParts } from '../../../src/client/tcp/transport.ts'
import type { Endpoint } from '../../../src/core/endpoint.ts'
import { CONNECT } from '../../../src/core/protocol.ts'
import type { RequestHead } from '../../../src/core/request-head.ts'
import { type StackOptions, WatchedStack } from '../http/rig.ts'

export interface TcpRigOptions extends StackOptions, TcpTransportParts {}

export class TcpRig extends WatchedStack implements Selector<TcpTransport> {
  readonly transport: TcpTransport
  readonly #selection: Selection

  constructor(endpoints: Endpoint[], options: TcpRigOptions = {}) {
    super(endpoints, options)
    this.transport = new TcpTransport(options)
    const kind = { service: this.service, method: CONNECT, protocol: 'tcp', streaming: true, idempotent: true }
    this.#selection = { stack: this.stack(), kind: Object.freeze(kind), routed: undefined } as Selection
    onTestFinished(() => this.transport.close(0))
  }

  select(_head: RequestHead, _streaming: boolean): Selection {
    return this.#selection
  }

  unrouted(): Selection {
    return this.#selection
  }

  connect(options?: ConnectOptions): Socket {
    return new MeshSocket(this, resolveConnect(options)) as unknown as Socket
  }
}
