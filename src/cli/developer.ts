/**
 * A command as a member of the mesh: it joins as a developer, with a join token of the environment
 * or one that it makes by an operator's right, and keeps nothing on disk.
 */

import { performance } from 'node:perf_hooks'
import type { Command } from 'commander'
import type { Mesh } from '../mesh/mesh.ts'
import type { MeshSettings } from '../mesh/options.ts'
import { serviceName } from '../options/names.ts'
import { didYouMean } from '../options/nearest.ts'
import { listOf, shape, text } from './answer-shape.ts'
import { type ConnectionFlags, connect, findUrls, withConnection } from './connection.ts'
import { EXIT, Failure } from './failure.ts'
import { parsed } from './flag-values.ts'
import { meshSettings } from './mesh-settings.ts'
import { tellIfSlow } from './patience.ts'
import { REQUEST_TIMEOUT_MS, type RegistryApi, RegistryRefusal } from './registry-api.ts'
import { type CliContext, Terminal } from './terminal.ts'

const DEVELOPER = 'developer'
/** Until this process has joined. */
const TOKEN_TTL_MS = 60_000
/** As long as other commands wait for a registry. */
const JOIN_TIMEOUT_MS = REQUEST_TIMEOUT_MS
/** Of our variables, what concerns a process that only calls. */
const VARIABLES = ['INMESH_JOIN_TOKEN', 'INMESH_JOIN_TOKEN_FILE', 'INMESH_TRANSPORT', 'INMESH_ZONE']

export interface DeveloperFlags extends ConnectionFlags {
  readonly as?: string
}

/** Adds `--as` and the flags of a connection. */
export function withDeveloper(command: Command): Command {
  return withConnection(
    command.option(
      '--as <service>',
      `the service as which it calls, by whose rights (default: '${DEVELOPER}'; INMESH_SERVICE with INMESH_JOIN_TOKEN)`,
      parsed(serviceName()),
    ),
  )
}

export interface Developer {
  readonly mesh: Mesh
  readonly terminal: Terminal
  readonly service: string
  /** The registry as an operator; `undefined`: a join token let this process in. */
  readonly api: RegistryApi | undefined
  readonly joinMs: number
}

/**
 * The caller closes the mesh.
 *
 * @throws Failure that says what to give
 */
export async function joinAsDeveloper(surroundings: CliContext, flags: DeveloperFlags): Promise<Developer> {
  const startedAt = performance.now()
  const { env } = surroundings
  const hasJoinToken = Boolean(env.INMESH_JOIN_TOKEN ?? env.INMESH_JOIN_TOKEN_FILE)
  const service = flags.as ?? (hasJoinToken && env.INMESH_SERVICE ? env.INMESH_SERVICE : DEVELOPER)
  const options = {
    service,
    registry: findUrls(env, flags).map(({ origin }) => origin),
    stateDir: 'memory',
    ...{
      joinTimeout: JOIN_TIMEOUT_MS,
      handleSignals: false,
      traffic: false,
      tap: false,
      drainNotice: 0,
      drainTimeout: 1_000,
    },
  }
  const kept = Object.fromEntries(VARIABLES.map((name) => [name, env[name]]))
  // Before anything is sent.
  await meshSettings(options, kept)
  const { startMesh } = await import('../mesh/open-mesh.ts')
  const join = (terminal: Terminal, settings: MeshSettings): Promise<Mesh> =>
    tellIfSlow((text) => terminal.note(text), `the mesh of ${options.registry.join(', ')}`, startMesh(settings))
  if (hasJoinToken) {
    const terminal = new Terminal(surroundings, flags.json === true)
    const mesh = await join(terminal, await meshSettings(options, kept))
    return { mesh, terminal, service, api: undefined, joinMs: performance.now() - startedAt }
  }
  const { api, terminal } = await connectAsOperator(surroundings, flags, service)
  const { token } = await makeToken(api, service)
  const mesh = await join(terminal, await meshSettings({ ...options, joinToken: token }, kept))
  return { mesh, terminal, service, api, joinMs: performance.now() - startedAt }
}

async function connectAsOperator(surroundings: CliContext, flags: DeveloperFlags, service: string) {
  try {
    return await connect(surroundings, flags)
  } catch (error) {
    if (!(error instanceof Failure) || error.code !== 'token-missing') throw error
    throw new Failure(error.exitCode, error.code, `${error.message}; ${orJoinToken(service)}`)
  }
}

/** Of a `--dev` registry, too: it pins its root. */
async function makeToken(api: RegistryApi, service: string): Promise<{ token: string }> {
  try {
    const made = await api.call<{ token: string }>('POST', '/v1/tokens', { service, ttlMs: TOKEN_TTL_MS, uses: 1 })
    if (typeof made.token === 'string') return made
  } catch (error) {
    if (!(error instanceof RegistryRefusal) || (error.status !== 401 && error.status !== 403)) throw error
    const give = 'give --token or INMESH_ADMIN_TOKEN of an operator who may change something'
    throw new Failure(EXIT.failed, error.code, `${error.message}; ${give}, ${orJoinToken(service)}`)
  }
  throw new Failure(EXIT.failed, 'unexpected-answer', `${api.url} answered without a token; is it an inmesh registry?`)
}

function orJoinToken(service: string): string {
  return `or INMESH_JOIN_TOKEN from \`inmesh token create --service ${service}\``
}

const SERVICES = shape({ services: listOf(shape({ service: text })) })

/**
 * Why a call to `service` may wait: no instance is registered. `undefined`: there are some, or the
 * registry does not say.
 */
export async function whyAbsent({ api }: Developer, service: string): Promise<string | undefined> {
  if (api === undefined) return undefined
  try {
    const answer = await api.get<{ services: { service: string; ready?: number }[] }>('/v1/services')
    if (SERVICES(answer, '') !== undefined) return undefined
    const found = answer.services.find((one) => one.service === service)
    if (found !== undefined && found.ready !== 0) return undefined
    const ready = answer.services.filter((one) => one.ready !== 0).map((one) => one.service)
    return `no instance of '${service}' is registered and ready${didYouMean(service, ready)}`
  } catch {
    // The call itself says what is wrong.
    return undefined
  }
}
