/** gRPC C core ends a call that comes as it stops, and its GOAWAY may come after that answer. */
import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { GET, KINDS, type Kind } from './kinds.ts'
import { answerWell, grpcRigOver, serveGrpc } from './rig.ts'

const ALL = [...KINDS, GET]

/** At a stopping server, with another beside it that is well. */
async function run(kind: Kind, idempotent: boolean, details: string): Promise<unknown[]> {
  let cut = 0
  const stopping = await serveGrpc(async (call) => {
    await call.message()
    cut += 1
    call.finish(status.CANCELLED, details)
    call.goAway()
  })
  const well = await serveGrpc(answerWell)
  const rig = grpcRigOver([stopping.port, well.port])
  const { error, answers } = await kind.run(rig.client, { idempotent })
  return [error?.code, error?.details, answers.map(({ sku }) => sku), cut, rig.attempts.outcomes.length]
}

describe('a call that is answered CANCELLED before the GOAWAY', () => {
  it.each(ALL)('$name goes to another server if it is idempotent', async (kind) => {
    expect(await run(kind, true, 'CANCELLED')).toEqual([undefined, undefined, ['a'], 1, 2])
  })

  it.each(ALL)('$name is not repeated if it may have been executed and is not idempotent', async (kind) => {
    expect(await run(kind, false, 'CANCELLED')).toEqual([status.CANCELLED, 'CANCELLED', [], 1, 1])
  })

  it.each(ALL)('$name keeps what a handler says with its own details', async (kind) => {
    expect(await run(kind, true, 'no longer wanted')).toEqual([status.CANCELLED, 'no longer wanted', [], 1, 1])
  })
})
