/** Answers with a message that cannot be read, before a status that says that all is well. */
import { gzipSync } from 'node:zlib'
import { status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { GET, KINDS } from './kinds.ts'
import { grpcRigOver, serveGrpc, stock } from './rig.ts'

const MESSAGES = {
  'compressed without an encoding': { bytes: stock('a'), headers: {}, code: status.INTERNAL },
  'not compressed as it says': { bytes: stock('a'), headers: { 'grpc-encoding': 'gzip' }, code: status.INTERNAL },
  'compressed in an unknown way': { bytes: stock('a'), headers: { 'grpc-encoding': 'br' }, code: status.INTERNAL },
  'too large when it is decompressed': {
    bytes: gzipSync(stock('a', 1, Buffer.alloc(5_000_000))),
    headers: { 'grpc-encoding': 'gzip' },
    code: status.RESOURCE_EXHAUSTED,
  },
}

describe('a message', () => {
  it.each(Object.entries(MESSAGES))('%s fails the call, though its status is OK', async (_name, message) => {
    const server = await serveGrpc(async (call) => {
      await call.messages()
      call.respond(message.headers)
      call.send(message.bytes, { compressed: true })
      call.finish()
    })
    for (const kind of [...KINDS, GET]) {
      const rig = grpcRigOver([server.port])
      const { error, answers } = await kind.run(rig.client)
      expect([kind.name, error?.code, answers]).toEqual([kind.name, message.code, []])
      expect(rig.attempts.outcomes.map(({ verdict }) => verdict)).not.toContain('success')
    }
  })
})
