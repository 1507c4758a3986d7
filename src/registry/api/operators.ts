/** The API of operators and their tokens. */
import { fields, type Issue, oneOf, optional, text, withDefault } from '../../options/fields.ts'
import { duration } from '../../options/quantities.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { invalid } from './error.ts'
import { checkBody } from './handling.ts'
import { readJson, sendJson } from './request.ts'

const NEW_OPERATOR = fields({
  name: text("an operator's name: letters, digits, '.', '_', '@' and '-'", /^[A-Za-z0-9][A-Za-z0-9._@-]*$/, 63),
  access: withDefault(oneOf(['admin', 'read']), 'admin'),
  ttlMs: optional(duration({ min: 1_000, max: 3_650 * 86_400_000 })),
})

export async function createOperator({ operators, clock }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { request, response, caller } = exchange
  const issues: Issue[] = []
  const { name, access, ttlMs } = NEW_OPERATOR.parse(await readJson(request, clock), [], issues)
  if (issues.length > 0) throw invalid('operator', issues)
  const { token, record } = await operators.create({ name, access, ttlMs }, caller.name, caller.source)
  sendJson(response, 201, { ...record, token })
}

export async function revokeOperator({ operators }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { response, caller, parameters } = exchange
  const { id, name } = await operators.revoke(parameters[0]!, caller.name, caller.source)
  sendJson(response, 200, { id, name, revoked: true })
}

const ROTATE = fields({ overlapMs: withDefault(duration({ min: 0, max: 30 * 86_400_000 }), 0) })

export async function rotateOperator({ operators, clock }: ApiContext, exchange: ApiRequest): Promise<void> {
  const { request, response, caller, parameters } = exchange
  const { overlapMs } = checkBody(ROTATE, await readJson(request, clock), 'rotation')
  const { token, record } = await operators.rotate(parameters[0]!, overlapMs, caller.name, caller.source)
  sendJson(response, 200, { ...record, token })
}
