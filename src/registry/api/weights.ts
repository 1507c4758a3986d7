/** Weights of a service's splits: `split` gives shares in percent, `switch` gives all to one. */
import { fields, instance, OptionsError, optional } from '../../options/fields.ts'
import { splitRoute, switchRoutes } from '../../routing/reweigh.ts'
import { checkAccess } from '../access/access.ts'
import type { PolicyChange } from '../policy-change.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { invalid } from './error.ts'
import { actorOf, checkBody } from './handling.ts'
import { isOn } from './policies.ts'
import { readPrecondition } from './precondition.ts'
import { readJson, sendJson } from './request.ts'

const NAME = instance<string>('a name', (value) => typeof value === 'string' && value !== '' && value.length <= 1_000)

const SPLIT = fields({
  route: NAME,
  /** By target, in percent. */
  shares: instance<Readonly<Record<string, number>>>('shares in percent by target, such as { green: 25 }', areShares),
})
const SWITCH = fields({ target: NAME, route: optional(NAME) })

function areShares(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  const shares = Object.values(value)
  return shares.length > 0 && shares.length <= 20 && shares.every((share) => Number.isFinite(share))
}

export async function splitService(context: ApiContext, exchange: ApiRequest): Promise<void> {
  await reweigh(context, exchange, 'policy-split', (body) => {
    const { route, shares } = checkBody(SPLIT, body, 'split')
    return (document) => splitRoute(document, route, shares)
  })
}

export async function switchService(context: ApiContext, exchange: ApiRequest): Promise<void> {
  await reweigh(context, exchange, 'policy-switch', (body) => {
    const { target, route } = checkBody(SWITCH, body, 'switch')
    return (document) => switchRoutes(document, target, route)
  })
}

type Reweigh = Parameters<ApiContext['policies']['reweigh']>[2]

async function reweigh(
  { policies, clock }: ApiContext,
  { request, response, caller, query, parameters }: ApiRequest,
  action: 'policy-split' | 'policy-switch',
  read: (body: unknown) => Reweigh,
): Promise<void> {
  const service = parameters[0]!
  const dryRun = isOn(query.get('dryRun'))
  if (!dryRun) checkAccess(caller, 'admin')
  const condition = readPrecondition(request.headers)
  const change = read(await readJson(request, clock))
  const options = { dryRun, ...(condition !== undefined && { condition: new Map([[service, condition]]) }) }
  try {
    const made = await policies.reweigh(service, action, change, actorOf(caller), options)
    sendJson(response, 200, { ...made, warnings: policies.warnings([made satisfies PolicyChange]) })
  } catch (error) {
    if (error instanceof OptionsError) throw invalid(`'${service}'`, error.issues)
    throw error
  }
}
