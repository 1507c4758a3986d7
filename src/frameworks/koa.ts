/** Koa 2 and 3 in the mesh: one middleware that comes first. */
import type { Middleware } from 'koa'
import { check, fields, flag, withDefault } from '../options/fields.ts'
import { type CurrentCall, currentCall } from '../server/current-call.ts'
import { type ProblemOptions, problemOf } from '../server/http/problem.ts'
import { HEALTH_SHAPE, type HealthOptions, routesOf } from './health.ts'
import { withoutBody } from './problem-answer.ts'

export type { HealthOptions } from './health.ts'

declare module 'koa' {
  interface ExtendableContext {
    /**
     * The call that brought this request, as `currentCall()` gave it when the request came.
     * `undefined` if it did not come through `mesh.serve`, and without `meshMiddleware()`.
     */
    call?: CurrentCall | undefined
  }
}

/** Options of {@link meshMiddleware}. */
export interface MeshMiddlewareOptions extends HealthOptions, ProblemOptions {}

const FIELDS = fields({ ...HEALTH_SHAPE, expose: withDefault(flag(), false) })

/**
 * Sets `ctx.call`, answers the routes for probes, and answers errors of the mesh with their status
 * and a problem document (`problemOf`), which `app.on('error')` hears as well. All other errors go
 * Koa's way. Comes first.
 *
 * @throws OptionsError naming each wrong option
 * @example
 * ```ts
 * const app = new Koa()
 * app.use(meshMiddleware({ mesh }))
 * app.use((ctx) => { ctx.body = { askedBy: ctx.call?.peer?.service } })
 * await mesh.serve(app.callback(), { port: 8080 })
 * ```
 */
export function meshMiddleware(options?: MeshMiddlewareOptions): Middleware {
  const { expose, ...probes } = check(FIELDS, options, 'meshMiddleware')
  const health = routesOf(probes)
  return async (ctx, next) => {
    ctx.call = currentCall()
    const answering = health(ctx.method, ctx.path)
    if (answering !== undefined) {
      const { status, headers, body } = await answering
      ctx.status = status
      ctx.set(headers)
      ctx.body = body
      return
    }
    try {
      await next()
    } catch (error) {
      const problem = problemOf(error, { expose })
      if (problem === undefined) throw error
      if (ctx.headerSent) {
        // Koa would leave it open.
        ctx.res.destroy()
        throw error
      }
      for (const name of ctx.res.getHeaderNames()) if (withoutBody(name)) ctx.remove(name)
      ctx.status = problem.status
      ctx.set(problem.headers)
      ctx.body = problem.body
      ctx.app.emit('error', error, ctx)
    }
  }
}
