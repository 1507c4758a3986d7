/** Rules of intentions as people read them, and a request that each allows. */
import type { ExplainedRule } from '../discovery/explanation.ts'

/** `GET /scores/* (allow[0])`, `gRPC shop.Prices/Quote (allow[1])`. */
export function allowedBy(rules: readonly ExplainedRule[]): string {
  return rules.map((rule) => `${parts(rule).join(', ')} (${rule.rule})`).join('; ')
}

function parts({ methods, paths, grpc, tcp }: ExplainedRule): string[] {
  const any = methods === null && paths === null && grpc === null && !tcp
  const http = methods !== null || paths !== null
  return [
    ...(any ? ['HTTP and gRPC'] : []),
    ...(http ? [`${methods?.join(', ') ?? 'any method'} ${paths?.join(', ') ?? 'of any path'}`] : []),
    ...(grpc === null ? [] : [`gRPC ${grpc.join(', ')}`]),
    ...(tcp ? ['TCP connections'] : []),
  ]
}

/** As `inmesh doctor --to` takes it: `http://scores/scores/1`, `'POST http://scores/scores'`. */
export function exampleOf({ methods, paths, grpc, tcp }: ExplainedRule, service: string): string {
  if (methods === null && paths === null) {
    if (grpc !== null) return `grpc://${service}/${grpc[0]!.replace('*', 'Method')}`
    return tcp ? `tcp://${service}` : `http://${service}`
  }
  const url = `http://${service}${(paths?.[0] ?? '/').replaceAll('*', '1')}`
  return methods === null || methods.includes('GET') ? url : `'${methods[0]} ${url}'`
}
