/** Applies what documents say of the access log, and warns where they ask for one in vain. */
import type { AccessLogPolicy } from '../telemetry/access-log/settings.ts'
import type { MeshContext } from './context.ts'

const warned = new Set<string>()

/** `policy`: of `service`, as its documents say it. */
export function configureAccessLog(
  { accessLog, settings }: MeshContext,
  side: 'client' | 'server',
  service: string,
  policy: AccessLogPolicy | false | undefined,
): void {
  if (accessLog !== undefined) accessLog[side].configure(service, policy)
  else if (policy !== undefined && policy !== false) warn(settings.service)
}

/** Once for each service of this process. */
function warn(service: string): void {
  if (warned.has(service)) return
  warned.add(service)
  const message =
    `a policy document asks for an access log, and '${service}' has no logger for it; ` +
    'give joinMesh one: accessLog: { log, enabled: false }'
  process.emitWarning(message, { type: 'InmeshWarning', code: 'INMESH_ACCESS_LOG' })
}
