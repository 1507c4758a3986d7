/** The services that a workload calls: as they are given, or as the registry has heard of calls. */
import { InvalidArgumentError } from 'commander'
import { reasonOf } from '../../core/errors.ts'
import { HTTP_METHODS } from '../../net/http-methods.ts'
import { listOf, shape, text } from '../answer-shape.ts'
import { Failure } from '../failure.ts'
import type { RegistryApi } from '../registry-api.ts'
import { checkService, readServiceUrl } from '../service-url.ts'
import type { Finding } from './finding.ts'
import type { Dependency } from './mesh-checks.ts'

const WANTED =
  "expected a service, or a request such as 'http://inventory/items/42', 'POST http://…', 'grpc://…' or 'tcp://redis'"
const METHOD = new RegExp(`^(${HTTP_METHODS.join('|')}) +(?=https?:)`)
const GRPC = /^grpc:\/\/([^/]+)\/([\w.]+\/\w+)$/i

/** For commander. @throws InvalidArgumentError */
export function readDependency(name: string): Dependency {
  try {
    const request = requestOf(name)
    checkService(request.service)
    return { name, request, bare: isBare(name) }
  } catch (error) {
    if (error instanceof Failure) throw new InvalidArgumentError(`${error.message}.`)
    throw error
  }
}

function isBare(name: string): boolean {
  return !name.includes(':')
}

function requestOf(name: string): Dependency['request'] {
  if (/^tcp:\/\//i.test(name)) return { service: name.slice('tcp://'.length), protocol: 'tcp' }
  const [, service, grpc] = GRPC.exec(name) ?? []
  if (service !== undefined && grpc !== undefined) return { service, grpc }
  if (isBare(name)) return { service: name }
  const [prefix = '', method] = METHOD.exec(name) ?? []
  return { ...readServiceUrl(name.slice(prefix.length), WANTED), ...(method !== undefined && { method }) }
}

const GRAPH = shape({ edges: listOf(shape({ from: text, to: text })) })

/** Within the last hour. */
export async function dependenciesOf(
  api: RegistryApi | undefined,
  service: string,
  findings: Finding[],
): Promise<readonly Dependency[]> {
  const unknown = (message: string): readonly Dependency[] => {
    findings.push({ check: 'dependency', state: 'skipped', message, todo: 'name what it calls with --to' })
    return []
  }
  if (api === undefined) return unknown('which services it calls is not known without an operator')
  try {
    const answer = await api.get<{ edges: { from: string; to: string }[] }>('/v1/traffic/graph?window=3600000ms')
    if (GRAPH(answer, '') !== undefined) return unknown('the registry answered something that is no service graph')
    const called = new Set(answer.edges.filter(({ from }) => from === service).map(({ to }) => to))
    if (called.size === 0) return unknown('the registry has heard of no calls within the last hour')
    return [...called].sort().map((name) => ({ name, request: { service: name }, bare: true }))
  } catch (error) {
    return unknown(reasonOf(error))
  }
}
