/** The arguments of `mesh.listen`: a handler with options, or options with a target. */
import { OptionsError, show } from '../options/fields.ts'
import type { TcpHandler } from '../server/tcp/call.ts'
import { assertObject } from './given-options.ts'
import type { ListenOptions } from './serve-options.ts'

export type ListenArguments = [serving: TcpHandler | ListenOptions, options?: ListenOptions]

/** What is served, and how. */
export interface Listening {
  /** `undefined`: the options have a target. */
  readonly handler: TcpHandler | undefined
  readonly options: ListenOptions
}

/**
 * `own`: our service. Its certificate is the only one that this process has, and the registry takes
 * no instance of another service from it.
 *
 * @throws OptionsError naming each wrong argument
 */
export function listenArguments(own: string, service: unknown, [serving, more]: ListenArguments): Listening {
  if (service !== own) {
    const hint = `a process serves its own service; join as ${show(service)} to serve that`
    throw mistake('service', `expected '${own}', got ${show(service)}: ${hint}`)
  }
  if (typeof serving === 'function') {
    const options = more ?? {}
    assertObject(options, 'mesh.listen')
    if (options.target !== undefined) throw mistake('target', 'is not taken beside a handler; give one of the two')
    return { handler: serving, options }
  }
  assertObject(serving, 'mesh.listen')
  if (more !== undefined) throw mistake('options', 'are given twice; a target stands among the first')
  if (serving.target === undefined) {
    throw mistake('target', "is missing: expected a handler (socket) => …, or a target such as '127.0.0.1:6379'")
  }
  return { handler: undefined, options: serving }
}

function mistake(key: string, message: string): OptionsError {
  return new OptionsError('mesh.listen', [{ path: [key], message }])
}
