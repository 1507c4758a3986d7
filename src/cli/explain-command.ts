/** `inmesh explain`: where a request would go, and why, by what the registry knows. */
import type { Command } from 'commander'
import type { Explanation } from '../discovery/explanation.ts'
import { namespaceName } from '../gateway-api/names.ts'
import { serviceName } from '../options/names.ts'
import { type ConnectionFlags, connect, withConnection } from './connection.ts'
import { withExample } from './examples.ts'
import { describeExplanation } from './explanation-text.ts'
import { invalidUsage } from './failure.ts'
import { collected, parsed, readHeader } from './flag-values.ts'
import { readServiceUrl } from './service-url.ts'
import type { CliContext } from './terminal.ts'

interface ExplainFlags extends ConnectionFlags {
  readonly header?: Readonly<Record<string, string>>
  readonly from?: string
  readonly fromNamespace?: string
  readonly all?: boolean
}

export function addExplainCommand(program: Command, surroundings: CliContext): void {
  const command = program
    .command('explain')
    .description('Show where a request would go and why: route, target, endpoints, policies, intention. Sends nothing.')
    .argument('<method>', "an HTTP method, 'grpc' or 'tcp'", (text) => text)
    .argument('<url>', "such as 'http://inventory/items/42'; with grpc or tcp, the service")
    .argument('[grpc-method]', "with grpc, such as 'shop.Inventory/Quote'")
    .option('-H, --header <header>', "a header such as 'x-user: 7'; may be repeated", collected(readHeader))
    .option(
      '--from <service>',
      'the calling service; without it no condition on the caller holds',
      parsed(serviceName()),
    )
    .option(
      '--from-namespace <namespace>',
      "the namespace of the calling process (default: 'default')",
      parsed(namespaceName()),
    )
    .option('--all', 'show policies that have their defaults, too')
  withConnection(command)
  withExample(
    command,
    "inmesh explain GET http://inventory/items/42 -H 'x-user: 7' --from checkout",
    'inmesh explain grpc inventory shop.Inventory/Quote --from checkout',
    'inmesh explain tcp redis --from checkout',
  )
  command.action(async (method: string, url: string, grpc: string | undefined, flags: ExplainFlags) => {
    const { header, from, fromNamespace, all = false, ...connection } = flags
    const request = {
      ...requestOf(method, url, grpc),
      ...(header !== undefined && { headers: header }),
      ...(from !== undefined && { from }),
      ...(fromNamespace !== undefined && { fromNamespace }),
    }
    const { api, terminal } = await connect(surroundings, connection)
    const explanation = await api.call<Explanation>('POST', '/v1/explain', request)
    terminal.result(explanation, () => describeExplanation(explanation, all))
  })
}

function requestOf(method: string, url: string, more: string | undefined): object {
  switch (method.toLowerCase()) {
    case 'grpc':
      return grpcRequest(url, more)
    case 'tcp':
      return tcpRequest(url, more)
    default:
      return httpRequest(method, url, more)
  }
}

function tcpRequest(service: string, more: string | undefined): object {
  if (more !== undefined) throw invalidUsage(`expected 'tcp <service>', got another argument ${JSON.stringify(more)}`)
  return { service: service.replace(/^tcp:\/\//, ''), protocol: 'tcp' }
}

function grpcRequest(service: string, grpc: string | undefined): object {
  if (grpc === undefined)
    throw invalidUsage("expected 'grpc <service> <method>', such as 'grpc inventory shop.Inventory/Quote'")
  return { service: service.replace(/^grpc:\/\//, ''), grpc }
}

function httpRequest(method: string, text: string, more: string | undefined): object {
  const wanted = "expected '<method> <url>', such as 'GET http://inventory/items/42'"
  if (more !== undefined) throw invalidUsage(`${wanted}, got another argument ${JSON.stringify(more)}`)
  return { ...readServiceUrl(text, wanted), method: method.toUpperCase() }
}
