/** An explanation as people read it: one section for each question, empty ones left out. */
import type {
  ExplainedHeaders,
  ExplainedLevel,
  ExplainedRule,
  ExplainedTarget,
  Explanation,
} from '../discovery/explanation.ts'
import { formatPath } from '../options/fields.ts'
import type { FailedCondition, TriedRoute } from '../routing/explain-route.ts'
import { allowedBy } from './intention-text.ts'
import { printable, table } from './terminal.ts'

/** `all`: policies that have their defaults, too. */
export function describeExplanation(explanation: Explanation, all: boolean): string[] {
  const { service, from, targets } = explanation
  const sections = [
    [printable(`${requestOf(explanation)} from ${from ?? 'an unknown caller'}`)],
    section('route', routeLines(explanation)),
    section('override', overrideLines(explanation)),
    section('answer', answerLines(explanation)),
    section(targets.length > 1 ? 'split' : 'target', targetLines(explanation)),
    ...targets.map((target) => section(`endpoints of ${nameOf(target)}`, endpointLines(target))),
    section('failover', explanation.failover.map(levelLine)),
    section(
      'mirrors',
      explanation.mirrors.map(({ target, share }) => `${target || service}  ${percent(share)}`),
    ),
    section('changes', changeLines(explanation)),
    section('policies', policyLines(explanation, all)),
    section('intention', intentionLines(explanation)),
    section(
      'warnings',
      explanation.warnings.map(({ path: at, message }) =>
        at.length === 0 ? message : `${formatPath(at)}: ${message}`,
      ),
    ),
  ]
  return sections.filter((lines) => lines.length > 0).flatMap((lines, i) => (i === 0 ? lines : ['', ...lines]))
}

function requestOf({ service, protocol, method, path }: Explanation): string {
  if (protocol === 'tcp') return `a TCP connection to ${service}`
  return protocol === 'grpc' ? `gRPC ${service}${method}` : `${method} http://${service}${path}`
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${printable(line)}`)]
}

function routeLines({ routes, route, action }: Explanation): string[] {
  const width = Math.max(0, ...routes.map(({ name }) => name.length))
  const lines = routes.flatMap((tried) => routeLine(tried, width))
  if (route !== null) return lines
  if (routes.length === 0 && action === 'send') return ['none is written: the service as it is']
  return [...lines, action === 'refuse' ? 'none matches' : 'none matches: the service as it is']
}

function routeLine({ name, matched, match, failed }: TriedRoute, width: number): string[] {
  const title = name.padEnd(width)
  if (matched) return [`${title}  yes  ${match === null ? 'takes every request' : `match[${match}] holds`}`]
  return failed.map((one, at) => `${at === 0 ? title : ' '.repeat(width)}  no   ${whyNot(one)}`)
}

function whyNot({ match, condition, expected, seen }: FailedCondition): string {
  if (condition === 'protocol') return `match[${match}]: is for ${expected === 'grpc' ? 'gRPC' : 'HTTP'} only`
  const wanted = expected === '*' ? 'any value' : `'${expected}'`
  const none = condition === 'from' ? 'the caller is not known' : 'the request has none'
  return `match[${match}].${condition}: expected ${wanted}, ${seen === null ? none : `got '${seen}'`}`
}

function overrideLines({ override, service }: Explanation): string[] {
  if (override === null) return []
  const { target, refused } = override
  return [refused === null ? `the request asks for ${target || service}` : `counts for nothing: ${refused}`]
}

function answerLines({ answer }: Explanation): string[] {
  if (answer === null) return []
  const { status, grpcStatus, location } = answer
  const to = location === null || grpcStatus !== null ? '' : ` to ${location}`
  return [`${grpcStatus ?? status}${to}, made by the caller`]
}

function targetLines({ targets, target, sticky, service }: Explanation): string[] {
  if (targets.length === 0) return []
  if (targets.length === 1) return [targets[0]!.key === '' ? `${service}, as it is` : nameOf(targets[0]!)]
  const width = Math.max(...targets.map((one) => nameOf(one).length))
  const lines = targets.map(
    (one) => `${nameOf(one).padEnd(width)}  ${percent(one.share)}${one.key === target ? '  <- this request' : ''}`,
  )
  if (sticky === null) return [...lines, 'each call by its turn']
  const where = `${sticky.from} ${sticky.name}`
  return [
    ...lines,
    sticky.value === null ? `no ${where}: each call by its turn` : `sticky by ${where} '${sticky.value}'`,
  ]
}

function endpointLines({ endpoints, missing }: ExplainedTarget): string[] {
  if (missing) return ['there is no such target: calls fail at once']
  if (endpoints.length === 0) return ['none']
  return table(
    ['ID', 'ADDRESS', 'STATE', 'ZONE', 'VERSION', 'WEIGHT', 'TRANSPORTS'],
    endpoints.map(({ id, address, state, zone, version, weight, transports }) => [
      id,
      address,
      state,
      zone,
      version,
      weight,
      transports?.join(' '),
    ]),
  )
}

function levelLine({ level, endpoints }: ExplainedLevel, i: number): string {
  const count = endpoints === null ? '' : `  ${endpoints.length === 1 ? '1 endpoint' : `${endpoints.length} endpoints`}`
  return `${i + 1}  ${JSON.stringify(level)}${count}`
}

function changeLines({ headers, responseHeaders, rewrite, faults, targets }: Explanation): string[] {
  return [
    ...(rewrite?.path === undefined || rewrite.path === null ? [] : [`path  ${rewrite.path}`]),
    ...(rewrite?.host === undefined || rewrite.host === null ? [] : [`host  ${rewrite.host}`]),
    ...headerLines('request', headers),
    ...headerLines('response', responseHeaders),
    ...targets.flatMap((target) => [
      ...headerLines(`request to ${nameOf(target)}`, target.headers),
      ...headerLines(`response of ${nameOf(target)}`, target.responseHeaders),
    ]),
    ...(faults === 0 ? [] : [`faults: ${faults} on purpose, in the caller`]),
  ]
}

function headerLines(of: string, changes: ExplainedHeaders | null): string[] {
  if (changes === null) return []
  const { remove, set, add } = changes
  return [
    ...remove.map((name) => `${of}: remove ${name}`),
    ...Object.entries(set).map(([name, value]) => `${of}: set ${name}: ${value}`),
    ...Object.entries(add).map(([name, value]) => `${of}: add ${name}: ${value}`),
  ]
}

function policyLines({ policies, route, service, action }: Explanation, all: boolean): string[] {
  if (action !== 'send') return []
  const origin = { default: 'default', mesh: 'mesh', service, route: `route ${route}` }
  const shown = all ? policies : policies.filter(({ from }) => from !== 'default')
  const rows = shown.map(({ key, value, from, boundBy }) => [
    key,
    typeof value === 'string' ? value : JSON.stringify(value),
    boundBy === undefined ? origin[from] : `bound by ${boundBy}`,
  ])
  const lines = rows.length === 0 ? [] : table(['POLICY', 'VALUE', 'FROM'], rows)
  return all ? lines : [...lines, `${rows.length === 0 ? 'all' : 'all others'} have their defaults (--all shows them)`]
}

const ALLOWED = ', and the default intention is to allow'

const rest = (others: readonly ExplainedRule[]): string =>
  others.length === 0 ? '' : `; the caller may send ${allowedBy(others)}`

function intentionLines({ targets, from, protocol, method, path }: Explanation): string[] {
  const request = protocol === 'http' ? `${method} ${path}` : protocol === 'grpc' ? method : 'a connection'
  const lines = targets.map(({ service, intention: { allowed, rule, from: origin, others = [] } }) => {
    const document = origin === 'service' ? service : origin
    const caller = from ?? 'an unknown caller'
    const why =
      rule !== 'default'
        ? `${rule} of ${document}`
        : origin === 'default'
          ? 'the default; no document says anything'
          : `no rule of ${document} is for ${request} from ${caller}${allowed ? ALLOWED : ''}${rest(others)}`
    return `${service} ${allowed ? 'allows' : 'denies'} it: ${why}`
  })
  return [...new Set(lines)]
}

/** The service's name stands for the service as it is. */
function nameOf({ key, service }: ExplainedTarget): string {
  return key === '' ? service : key
}

function percent(share: number): string {
  return `${Math.round(share * 10_000) / 100}%`
}
