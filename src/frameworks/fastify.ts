/** Fastify 5 in the mesh: a plugin, and an error handler. */
import type { FastifyError, FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify'
import { type CurrentCall, currentCall } from '../server/current-call.ts'
import { type ProblemOptions, problemOf } from '../server/http/problem.ts'
import { leaveMesh } from '../server/http/served-server.ts'
import { type AnswerHealth, type HealthOptions, healthRoutes } from './health.ts'
import { resolveProblem, withoutBody } from './problem-answer.ts'

export type { HealthOptions } from './health.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The call that brought this request, as `currentCall()` gave it when the request came.
     * `undefined` if it did not come through `mesh.serve`, and without `meshPlugin`.
     */
    call?: CurrentCall | undefined
  }
}

/**
 * Sets `request.call`, and answers the routes for probes before the hooks that are added later.
 * `app.close()` leaves the mesh first: no caller meets an application that is closing.
 *
 * @example
 * ```ts
 * const app = fastify()
 * await app.register(meshPlugin, { mesh })
 * app.setErrorHandler(meshErrorHandler())
 * app.get('/items/:sku', async (request) => ({ askedBy: request.call?.peer?.service }))
 * await mesh.serve(app, { port: 8080 })
 * ```
 */
export const meshPlugin: FastifyPluginCallback<HealthOptions> = Object.assign(plugin, {
  // Of the instance that registers it, instead of an inner one (the package fastify-plugin).
  [Symbol.for('skip-override')]: true,
  [Symbol.for('fastify.display-name')]: 'inmesh',
  [Symbol.for('plugin-meta')]: { name: 'inmesh', fastify: '>=5.0.0' },
})

function plugin(app: FastifyInstance, options: HealthOptions, done: (error?: Error) => void): void {
  let health: AnswerHealth
  try {
    health = healthRoutes('meshPlugin', options)
  } catch (error) {
    // What a plugin throws, Fastify does not catch.
    done(error as Error)
    return
  }
  leaveBeforeClose(app)
  // Registered twice, in an instance and one within it.
  if (!app.hasRequestDecorator('call')) app.decorateRequest('call', undefined)
  app.addHook('onRequest', (request, reply, next) => {
    request.call = currentCall()
    const answering = health(request.method, request.url)
    if (answering === undefined) next()
    else void answering.then(({ status, headers, body }) => reply.code(status).headers(headers).send(body))
  })
  done()
}

type Close = (this: unknown, listener?: () => void) => unknown

const LEAVING_FIRST = new WeakSet<object>()

/** Fastify answers 503 from the moment of `close()`, before any hook of it. */
function leaveBeforeClose(app: FastifyInstance): void {
  let root: object = app
  while (!Object.hasOwn(root, 'close')) root = Object.getPrototypeOf(root) as object
  if (LEAVING_FIRST.has(root)) return
  LEAVING_FIRST.add(root)
  const owner = root as { close: Close }
  const { close } = owner
  owner.close = function (listener) {
    const left = leaveMesh(app.server)
    if (listener === undefined) return left.then(() => close.call(this))
    void left.then(() => close.call(this, listener))
    return undefined
  }
}

/**
 * For `app.setErrorHandler`: answers errors of the mesh with their status and a problem document
 * (`problemOf`). All others go on to the error handler that was set before, or to Fastify's.
 *
 * @throws OptionsError naming each wrong option
 */
export function meshErrorHandler(
  options?: ProblemOptions,
): (error: FastifyError, request: FastifyRequest, reply: FastifyReply) => void {
  const shown = resolveProblem(options)
  return (error, request, reply) => {
    const problem = problemOf(error, shown)
    if (problem === undefined) {
      reply.send(error)
      return
    }
    request.log.error({ err: error, reqId: request.id }, error.message)
    for (const name of Object.keys(reply.getHeaders())) if (withoutBody(name)) reply.removeHeader(name)
    // A serializer of the route would take a string for its own.
    reply.code(problem.status).headers(problem.headers).send(Buffer.from(problem.body))
  }
}
