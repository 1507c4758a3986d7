/**
 * Interceptors are often async functions, as where they wait for a token, and grpc-js drops the
 * promises that they return. A rejection would end the process; here it ends the call. What grpc-js
 * keeps of an interceptor is private to it, so nothing depends on finding it.
 */
import type * as grpc from '@grpc/grpc-js'

/** Whose call ends. */
interface Owner {
  fail(error: unknown): void
}

type Code = (this: unknown, ...args: unknown[]) => unknown

/** What grpc-js's `InterceptingCall` and `InterceptingListenerImpl` keep. */
interface Kept {
  requester?: Record<string, unknown>
  listener?: Record<string, unknown>
}

export function watchRequester(call: unknown, owner: Owner): void {
  const kept = call as Kept
  kept.requester &&= watched(kept.requester, ['start', 'sendMessage', 'halfClose', 'cancel'], owner)
}

export function watchListener(listener: Partial<grpc.InterceptingListener> | undefined, owner: Owner): void {
  const kept = listener as Kept | undefined
  if (kept?.listener === undefined) return
  kept.listener = watched(kept.listener, ['onReceiveMetadata', 'onReceiveMessage', 'onReceiveStatus'], owner)
}

/** A copy, because one object may serve many calls. */
function watched(code: Record<string, unknown>, names: readonly string[], owner: Owner): Record<string, unknown> {
  const copy = { ...code }
  for (const name of names) {
    const run = code[name]
    if (typeof run !== 'function') continue
    copy[name] = (...args: unknown[]): unknown => {
      const returned = (run as Code).apply(code, args)
      if (returned instanceof Promise) returned.catch((error: unknown) => owner.fail(error))
      return returned
    }
  }
  return copy
}
