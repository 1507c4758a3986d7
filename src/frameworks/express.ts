/**
 * Express 4 and 5 in the mesh, and every framework with middleware of `(request, response, next)`.
 * It imports no framework.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type CurrentCall, currentCall } from '../server/current-call.ts'
import { type ProblemOptions, problemOf } from '../server/http/problem.ts'
import { type HealthOptions, healthRoutes } from './health.ts'
import { resolveProblem, withoutBody } from './problem-answer.ts'

export type { HealthOptions } from './health.ts'

declare global {
  namespace Express {
    interface Request {
      /**
       * The call that brought this request, as `currentCall()` gave it when the request came.
       * `undefined` if it did not come through `mesh.serve`, and without `meshMiddleware()`.
       */
      call?: CurrentCall | undefined
    }
  }
}

/** Hands on to what Express has next. */
export type Next = (error?: unknown) => void
/** A middleware of Express. */
export type Middleware = (request: IncomingMessage, response: ServerResponse, next: Next) => void
/** An error handler of Express. */
export type ErrorMiddleware = (error: unknown, request: IncomingMessage, response: ServerResponse, next: Next) => void

/**
 * Sets `request.call`, and answers the routes for probes. Comes first: what stands before it, such
 * as a login, also guards the probes.
 *
 * @throws OptionsError naming each wrong option
 * @example
 * ```ts
 * const app = express()
 * app.use(meshMiddleware({ mesh }))
 * app.get('/items/:sku', (req, res) => res.json({ askedBy: req.call?.peer?.service }))
 * app.use(meshErrorHandler())
 * await mesh.serve(app, { port: 8080 })
 * ```
 */
export function meshMiddleware(options?: HealthOptions): Middleware {
  const health = healthRoutes('meshMiddleware', options)
  return (request, response, next) => {
    ;(request as { call?: CurrentCall | undefined }).call = currentCall()
    const answering = health(request.method ?? 'GET', request.url ?? '/')
    if (answering === undefined) next()
    else void answering.then(({ status, headers, body }) => response.writeHead(status, headers).end(body))
  }
}

/**
 * Answers errors of the mesh with their status and a problem document (`problemOf`). All others,
 * and those that come after the answer has begun, go on to the next error handler. Comes last.
 *
 * @throws OptionsError naming each wrong option
 */
export function meshErrorHandler(options?: ProblemOptions): ErrorMiddleware {
  const shown = resolveProblem(options)
  // Express knows an error handler by its four parameters.
  return (error, _request, response, next) => {
    const problem = response.headersSent ? undefined : problemOf(error, shown)
    if (problem === undefined) {
      next(error)
      return
    }
    for (const name of response.getHeaderNames()) if (withoutBody(name)) response.removeHeader(name)
    response.statusCode = problem.status
    // One by one, where middleware that compresses sees them.
    for (const [name, value] of Object.entries(problem.headers)) response.setHeader(name, value)
    response.end(problem.body)
  }
}
