/**
 * Cancels a call when the application destroys its stream, for example by breaking out of a
 * `for await`. grpc-js would leave the call, and the server's handler, running.
 */
import type * as grpc from '@grpc/grpc-js'

type Transform = NonNullable<grpc.ClientOptions['callInvocationTransformer']>
type Started = ReturnType<Transform>

/** For grpc-js's `callInvocationTransformer`, which sees each call before it starts. */
export const cancelAbandoned: Transform = (properties: Started): Started => {
  const { requestStream, responseStream } = properties.methodDefinition
  if (responseStream) properties.call.once('close', cancel)
  else if (requestStream) properties.call.once('close', cancelUnfinished)
  return properties
}

/** A call that has ended stays as it is. */
function cancel(this: Started['call']): void {
  // After `destroy()` no listener is expected, and without one the status would be uncaught.
  this.on('error', ignore)
  this.cancel()
}

/** A writer closes itself once all is written, and then waits for the answer. */
function cancelUnfinished(this: Started['call']): void {
  if (!(this as grpc.ClientWritableStream<unknown>).writableFinished) cancel.call(this)
}

function ignore(): void {}
