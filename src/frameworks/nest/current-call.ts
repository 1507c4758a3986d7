/** `@CurrentCall()`: the request being served, as a parameter of a handler. */
import { createParamDecorator } from '@nestjs/common'
import { currentCall, type CurrentCall as ServedCall } from '../../server/current-call.ts'

/** The request being served: its verified caller, deadline, baggage and signal. */
export type CurrentCall = ServedCall

/**
 * What `currentCall()` returns, as a parameter of a handler; `undefined` for a request that did not
 * come through the mesh.
 *
 * @example
 * ```ts
 * @Get('items/:sku')
 * item(@Param('sku') sku: string, @CurrentCall() call?: CurrentCall) {
 *   return this.stock.find(sku, { for: call?.peer?.service, signal: call?.signal })
 * }
 * ```
 */
export const CurrentCall: () => ParameterDecorator = createParamDecorator(() => currentCall())
