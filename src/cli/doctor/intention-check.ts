/** May this workload call a service? A rule for other requests than the tested one is no fault. */
import type { Protocol } from '../../core/protocol.ts'
import type { ExplainedRule, ExplainedTarget, Explanation } from '../../discovery/explanation.ts'
import { allowedBy, exampleOf } from '../intention-text.ts'
import type { Finding } from './finding.ts'

/** `served`: the protocols of which any request will do, because none was given. */
export function intentionFinding(
  subject: string,
  explained: Explanation,
  { service, intention }: ExplainedTarget,
  us: string,
  served: readonly Protocol[],
): Finding {
  const { allowed, rule, from, others } = intention
  const document = from === 'mesh' ? "the document 'mesh'" : `the document of '${service}'`
  const by = from === 'default' ? 'no document says anything' : `${rule} of ${document}`
  const finding = { check: 'intention', subject }
  if (allowed) return { ...finding, state: 'ok', message: `'${us}' may call it (${by})` }
  if (others.length === 0) {
    const todo = `add \`allow: [{ from: ${us} }]\` to the document of '${service}', and \`inmesh apply\` it`
    return { ...finding, state: 'failed', message: `'${us}' may not call it (${by})`, todo }
  }
  const message = `${document} allows '${us}' ${allowedBy(others)}, and not ${requestOf(explained)}`
  const rules = others.filter((other) => served.some((protocol) => allowsSome(other, protocol)))
  if (rules.length > 0) {
    return { ...finding, state: 'ok', message, todo: `to test a request, --to ${exampleOf(rules[0]!, service)}` }
  }
  const todo = `does it send this? Test another with --to ${exampleOf(others[0]!, service)}, or extend ${others[0]!.rule}`
  return { ...finding, state: 'failed', message, todo }
}

function allowsSome({ methods, paths, grpc, tcp }: ExplainedRule, protocol: Protocol): boolean {
  if (protocol === 'tcp') return tcp
  const http = methods !== null || paths !== null
  const everything = !http && grpc === null && !tcp
  return everything || (protocol === 'grpc' ? grpc !== null : http)
}

function requestOf({ protocol, method, path }: Explanation): string {
  if (protocol === 'tcp') return 'TCP connections'
  return protocol === 'grpc' ? `gRPC ${path.slice(1)}` : `${method} ${path}`
}
