/** More bodies than the window of a connection, read in each way: the client may always send on. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { MUX_DEFAULTS } from '../../../src/mux/settings.ts'
import { MuxClient } from '../../rigs/mux-client.ts'
import { serve } from '../rig.ts'

/** Many frames; of the calls that stay open there are fewer than streams allowed. */
const BODY = Buffer.alloc(200_000, 'x')
const CALLS = Math.ceil((1.2 * MUX_DEFAULTS.connectionWindow) / BODY.length)

async function allOf(request: IncomingMessage): Promise<void> {
  for await (const part of request) void part
}

const WAYS: Readonly<Record<string, (request: IncomingMessage, response: ServerResponse) => void>> = {
  'by an iterator': (request, response) => void allOf(request).then(() => response.end('ok')),
  'by an iterator, before an answer that stays open': (request, response) =>
    void allOf(request).then(() => response.write('ok')),
  'by read()': (request, response) => {
    request.on('readable', () => {
      while (request.read() !== null);
    })
    request.on('end', () => response.end('ok'))
  },
  'late, by an iterator': (request, response) =>
    void sleep(2)
      .then(() => allOf(request))
      .then(() => response.end('ok')),
  'not at all': (_request, response) => void setTimeout(() => response.end('ok'), 2),
  'in part': (request, response) => {
    request.once('data', () => {
      request.pause()
      response.end('ok')
    })
  },
}

it.each(Object.entries(WAYS))('a handler that reads %s', async (_name, handler) => {
  const { server } = await serve(
    (request, response) => {
      if (request.url === '/last') request.resume().on('end', () => response.end('last'))
      else handler(request, response)
    },
    {},
    { transport: 'auto' },
  )
  const client = await MuxClient.open(server.port)
  onTestFinished(() => client.close())
  let asked = 0
  const calls = async (): Promise<void> => {
    while (asked++ < CALLS) await client.ask({ method: 'POST', body: BODY }).head
  }
  await Promise.all([calls(), calls(), calls()])
  expect((await client.ask({ method: 'POST', path: '/last', body: BODY }).done).body).toBe('last')
})
