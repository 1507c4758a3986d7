/** The API of the authority: its state, rotations, and intermediates that are signed elsewhere. */
import { fields, oneOf, text, withDefault } from '../../options/fields.ts'
import { statusOf } from '../ca/authority-status.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { ApiError } from './error.ts'
import { auditRefusal, checkBody } from './handling.ts'
import { readJson, sendJson } from './request.ts'

const ROTATE = fields({
  what: oneOf(['root', 'intermediate', 'tokens']),
  do: withDefault(oneOf(['begin', 'force', 'cancel']), 'begin'),
})
const REQUEST = fields({ role: oneOf(['intermediate']) })
const IMPORT = fields({ chain: text('certificates in PEM', /^[\s\S]+$/, 128 * 1024) })

export function authorityStatus({ authority, rotator, signer }: ApiContext, { response }: ApiRequest): void {
  sendJson(response, 200, statusOf(authority, rotator, signer))
}

export async function rotate(context: ApiContext, exchange: ApiRequest): Promise<void> {
  const { authority, rotator, signer, clock } = context
  const { request, response, caller } = exchange
  await audited(context, exchange, 'ca-rotate', async () => {
    const { what, do: wanted } = checkBody(ROTATE, await readJson(request, clock), 'rotation')
    const { commands } = rotator
    const track = what === 'tokens' ? 'tokens' : 'certificates'
    if (wanted === 'begin') await commands.rotate(what, caller.name, caller.source)
    else await commands[wanted](track, caller.name, caller.source)
    sendJson(response, 200, statusOf(authority, rotator, signer))
  })
}

export async function requestIntermediate(
  context: ApiContext,
  { request, response, caller }: ApiRequest,
): Promise<void> {
  checkBody(REQUEST, await readJson(request, context.clock), 'signing request')
  const csr = await context.rotator.commands.request(caller.name, caller.source)
  sendJson(response, 200, { csr })
}

export async function importIntermediate(context: ApiContext, exchange: ApiRequest): Promise<void> {
  const { request, response, caller } = exchange
  await audited(context, exchange, 'ca-import', async () => {
    const { chain } = checkBody(IMPORT, await readJson(request, context.clock), 'chain')
    sendJson(response, 200, { id: await context.rotator.commands.import(chain, caller.name, caller.source) })
  })
}

async function audited(
  { audit }: ApiContext,
  { caller }: ApiRequest,
  action: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw error instanceof ApiError ? auditRefusal(audit, action, caller, undefined, error) : error
  }
}
