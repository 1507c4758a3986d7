/** The application's own copy of grpc-js, and the types it uses without exporting their names. */
import type * as grpc from '@grpc/grpc-js'
import { OLDEST_GRPC, requirePeer } from '../../options/optional-peer.ts'

export type Grpc = typeof grpc

/** @throws OptionsError if grpc-js is missing or too old */
export function loadGrpc(what: string): Grpc {
  return requirePeer<Grpc>('@grpc/grpc-js', OLDEST_GRPC, what)
}

/** `Call` in grpc-js. */
export type GrpcJsCall = ReturnType<grpc.Channel['createCall']>

/** Travels with a message. Its callback runs when the message has left. */
export type MessageContext = Parameters<GrpcJsCall['sendMessageWithContext']>[0]

/** What the owner of a call on a connection needs of it, whatever carries the call. */
export type CarriedCall = Pick<
  GrpcJsCall,
  'sendMessageWithContext' | 'halfClose' | 'startRead' | 'cancelWithStatus' | 'getAuthContext'
>
