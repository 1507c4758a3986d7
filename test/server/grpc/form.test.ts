/** A gRPC call that an intermediary could read differently never reaches its handler. */
import { expect, it } from 'vitest'
import { FLAG, FRAME, frames } from '../../rigs/raw-http2.ts'
import { grpcFrame } from '../../rigs/scripted-grpc-server.ts'
import { itemBytes } from '../../rigs/shop.ts'
import { clientOf } from '../rig.ts'
import { callHeaders, rawClient, serveShop } from './rig.ts'

const CALL = callHeaders('/shop.Inventory/Get')

it.each([
  ['a GET', { ...CALL, ':method': 'GET' }, 0],
  ['a method in lower case', { ...CALL, ':method': 'post' }, 0],
  ['a Host that is not the authority', { ...CALL, host: 'elsewhere' }, 0],
  ['a Host that is the authority', { ...CALL, host: CALL[':authority']! }, 1],
  ['the call as it should be', CALL, 1],
])('%s', async (_what, headers, expected) => {
  let ran = 0
  const { server } = await serveShop(
    {
      Get: (_call, answer) => {
        ran += 1
        answer(null, {})
      },
    },
    { mode: 'strict' },
  )
  const client = await rawClient(server.port, clientOf('checkout'))
  client.write(frames.headers(1, headers, FLAG.endHeaders), frames.data(1, grpcFrame(itemBytes('1')), FLAG.endStream))
  const end = await client.frame(({ type, flags }) => type === FRAME.headers && (flags & FLAG.endStream) !== 0)
  expect(end).toBeDefined()
  expect(ran).toBe(expected)
  await client.close()
})
