/**
 * The adapter runs with the oldest and with the newest grpc-js that we take, and each run has the
 * one that it says it has.
 */
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import * as grpc from '@grpc/grpc-js'
import { expect, inject, it } from 'vitest'
import { loadGrpc } from '../../../src/client/grpc/grpc-js.ts'
import { OLDEST_GRPC } from '../../../src/options/optional-peer.ts'
import { answerWell, grpcRigOver, serveGrpc } from './rig.ts'

const modules = join(import.meta.dirname, '../../../node_modules')
const versionIn = (directory: string): string =>
  JSON.parse(readFileSync(join(modules, directory, 'package.json'), 'utf8')).version

it('what is imported, required and found by us is the grpc-js of this run', async () => {
  const oldest = inject('oldestGrpc')
  const expected = versionIn(oldest ? 'grpc-js-oldest' : '@grpc/grpc-js')
  if (oldest) expect(expected).toBe(OLDEST_GRPC)
  else expect(expected).not.toBe(OLDEST_GRPC)
  const require = createRequire(import.meta.url)
  const required = require('@grpc/grpc-js') as typeof grpc
  expect(require('@grpc/grpc-js/package.json').version).toBe(expected)
  expect(loadGrpc('a test')).toBe(required)
  expect(required.Metadata).toBe(grpc.Metadata)
  // What it says of itself on the wire.
  const server = await serveGrpc(answerWell)
  await grpcRigOver([server.port]).client.promises.get({ sku: 'a' })
  expect(server.calls[0]!.headers['user-agent']).toContain(`grpc-node-js/${expected}`)
})
