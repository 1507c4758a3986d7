/** Answers errors of the mesh by the table that all frameworks share (`docs/errors.md`). */
import type { ServerResponse } from 'node:http'
import { type ArgumentsHost, Catch, type ExceptionFilter, Logger, type Type } from '@nestjs/common'
import { type Observable, throwError } from 'rxjs'
import { messageOf } from '../../core/errors.ts'
import { GRPC_STATUS, grpcStatusOfHttp } from '../../core/status.ts'
import { check, fields, flag, withDefault } from '../../options/fields.ts'
import { type Problem, type ProblemOptions, problemOf } from '../../server/http/problem.ts'

/** A reply of Fastify. */
interface Reply {
  readonly raw: ServerResponse
  code(status: number): this
  headers(headers: Readonly<Record<string, string>>): this
  send(body: string): this
}

const OPTIONS = fields({ expose: withDefault(flag(), false) })

/** Nest asks `exception instanceof` this whether the filter takes an exception. */
const FAILURE_OF_THE_MESH = {
  [Symbol.hasInstance]: (exception: unknown): boolean => problemOf(exception) !== undefined,
} as unknown as Type

/**
 * Answers a `MeshError`, and an error that one caused (axios, gRPC), with the status and problem
 * document of `problemOf`; a gRPC handler's caller gets the status of gRPC. All other exceptions
 * stay Nest's and those of other filters.
 *
 * @param options - `expose`: whether callers see the message, code and service of the error
 * @example
 * ```ts
 * providers: [{ provide: APP_FILTER, useValue: new MeshExceptionFilter() }]
 * ```
 */
export class MeshExceptionFilter implements ExceptionFilter {
  readonly #options: ProblemOptions
  readonly #logger = new Logger(MeshExceptionFilter.name)

  /** @throws OptionsError naming each wrong option */
  constructor(options?: ProblemOptions) {
    this.#options = check(OPTIONS, options, 'MeshExceptionFilter')
  }

  /** For Nest. @throws the exception itself where there is no answer to give, as for WebSockets */
  catch(exception: unknown, host: ArgumentsHost): Observable<never> | undefined {
    const problem = problemOf(exception, this.#options)
    const kind = host.getType()
    if (problem === undefined || (kind !== 'http' && kind !== 'rpc')) throw exception
    // As Nest's own filter does with what no other filter takes.
    this.#logger.error(messageOf(exception) ?? problem.error.message)
    if (kind === 'rpc') return throwError(() => statusOf(problem))
    answer(host.switchToHttp().getResponse<ServerResponse | Reply>(), problem)
    return undefined
  }
}
Catch(FAILURE_OF_THE_MESH)(MeshExceptionFilter)

function answer(response: ServerResponse | Reply, { status, headers, body }: Problem): void {
  const raw = 'raw' in response ? response.raw : response
  // An answer that ends here would pass for a whole one.
  if (raw.headersSent) raw.destroy()
  else if ('raw' in response) response.code(status).headers(headers).send(body)
  else {
    response.statusCode = status
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
    response.end(body)
  }
}

function statusOf({ status, document: { title, detail } }: Problem): { code: number; message: string } {
  const code = status === 504 ? GRPC_STATUS.DEADLINE_EXCEEDED : grpcStatusOfHttp(status)
  return { code, message: detail ?? title }
}
