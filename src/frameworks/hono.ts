/** Hono 4 in the mesh, behind `getRequestListener` of `@hono/node-server`. */
import type { ErrorHandler, MiddlewareHandler } from 'hono'
import { type CurrentCall, currentCall } from '../server/current-call.ts'
import { type ProblemOptions, problemOf } from '../server/http/problem.ts'
import { type HealthOptions, healthRoutes } from './health.ts'
import { resolveProblem, withoutBody } from './problem-answer.ts'

export type { HealthOptions } from './health.ts'

declare module 'hono' {
  interface ContextVariableMap {
    /**
     * The call that brought this request, as `currentCall()` gave it when the request came.
     * `undefined` if it did not come through `mesh.serve`, and without `meshMiddleware()`.
     */
    call: CurrentCall | undefined
  }
}

/**
 * Sets `c.get('call')`, and answers the routes for probes. Comes first: what stands before it, such
 * as a login, also guards the probes.
 *
 * @throws OptionsError naming each wrong option
 * @example
 * ```ts
 * const app = new Hono()
 * app.use(meshMiddleware({ mesh }))
 * app.get('/items/:sku', (c) => c.json({ askedBy: c.get('call')?.peer?.service }))
 * app.onError(meshErrorHandler())
 * await mesh.serve(getRequestListener(app.fetch), { port: 8080 })
 * ```
 */
export function meshMiddleware(options?: HealthOptions): MiddlewareHandler {
  const health = healthRoutes('meshMiddleware', options)
  return async (c, next) => {
    c.set('call', currentCall())
    const answering = health(c.req.method, c.req.path)
    if (answering === undefined) return next()
    const { status, headers, body } = await answering
    return c.body(body, status, headers)
  }
}

/**
 * For `app.onError`: answers errors of the mesh with their status and a problem document
 * (`problemOf`), and leaves all others to `otherwise`.
 *
 * @param otherwise the application's own error handler; without it, they are answered as Hono does
 * @throws OptionsError naming each wrong option
 */
export function meshErrorHandler(options?: ProblemOptions, otherwise: ErrorHandler = asHono): ErrorHandler {
  const shown = resolveProblem(options)
  return (error, c) => {
    const problem = problemOf(error, shown)
    if (problem === undefined) return otherwise(error, c)
    // What a handler has set comes with the answer that it had begun.
    for (const name of [...c.res.headers.keys()]) if (withoutBody(name)) c.res.headers.delete(name)
    return c.newResponse(problem.body, problem.status as 503, problem.headers)
  }
}

/** As Hono's error handler, which it does not export. */
const asHono: ErrorHandler = (error, c) => {
  if ('getResponse' in error) {
    const response = error.getResponse()
    return c.newResponse(response.body, response)
  }
  console.error(error)
  return c.text('Internal Server Error', 500)
}
