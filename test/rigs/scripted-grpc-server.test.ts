import { Client, credentials, type Metadata, Metadata as NewMetadata, type ServiceError, status } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import { craftLeaf, newAuthority } from './certificates.ts'
import { frames, RawHttp2 } from './raw-http2.ts'
import { type GrpcScript, type ScriptedGrpcOptions, ScriptedGrpcServer } from './scripted-grpc-server.ts'

const opened: { close(): unknown }[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one.close()
})

async function serve(script: GrpcScript, options?: ScriptedGrpcOptions): Promise<ScriptedGrpcServer> {
  const server = await new ScriptedGrpcServer(script, options).listen()
  opened.push(server)
  return server
}

const asItIs = (bytes: Buffer) => bytes

interface Answer {
  readonly error: ServiceError | null
  readonly message: string | undefined
  readonly metadata: Metadata | undefined
  readonly trailers: Metadata | undefined
}

function clientOf(server: ScriptedGrpcServer, channel = credentials.createInsecure(), options = {}): Client {
  const client = new Client(`127.0.0.1:${server.port}`, channel, options)
  opened.push(client)
  return client
}

function ask(client: Client, message = 'hello', withinMs = 30_000): Promise<Answer> {
  return new Promise((resolve) => {
    let metadata: Metadata | undefined
    let trailers: Metadata | undefined
    const deadline = Date.now() + withinMs
    const call = client.makeUnaryRequest(
      '/echo.Echo/Say',
      asItIs,
      asItIs,
      Buffer.from(message),
      new NewMetadata(),
      { deadline },
      (error: ServiceError | null, answer?: Buffer) => {
        // The status comes after the callback of a good call.
        setImmediate(() => resolve({ error, message: answer?.toString(), metadata, trailers }))
      },
    )
    call.on('metadata', (all: Metadata) => {
      metadata = all
    })
    call.on('status', (end) => {
      trailers = end.metadata
    })
  })
}

describe('a scripted gRPC server', () => {
  it('reads messages, and answers with headers, messages and trailers', async () => {
    const server = await serve(async (call) => {
      const [message] = await call.messages()
      call.respond({ 'x-head': 'one' })
      call.send(Buffer.from(`${message} back`))
      call.finish(0, '', { 'x-tail': 'two' })
    })
    const client = clientOf(server)
    const answer = await ask(client)
    expect(answer.message).toBe('hello back')
    expect(answer.metadata?.get('x-head')).toEqual(['one'])
    expect(answer.trailers?.get('x-tail')).toEqual(['two'])
    await ask(client)
    expect([server.streams, server.connections, server.open]).toEqual([2, 1, 1])
    expect(server.calls[1]!.headers[':path']).toBe('/echo.Echo/Say')
  })

  it('puts messages together that come in parts, and streams of them apart', async () => {
    const seen: number[] = []
    const server = await serve(async (call) => {
      for (const message of await call.messages()) seen.push(message.length)
      call.answer(Buffer.from('all'))
    })
    await new Promise((resolve) => {
      const call = clientOf(server).makeClientStreamRequest('/a/B', asItIs, asItIs, resolve)
      for (const length of [0, 3, 100_000, 1]) call.write(Buffer.alloc(length))
      call.end()
    })
    expect(seen).toEqual([0, 3, 100_000, 1])
  })

  it('answers with trailers only, with a message that needs escaping', async () => {
    const server = await serve((call) => call.finish(status.NOT_FOUND, 'no 100 % Ä', { 'x-why': 'gone' }))
    const { error, trailers } = await ask(clientOf(server))
    expect([error?.code, error?.details]).toEqual([status.NOT_FOUND, 'no 100 % Ä'])
    expect(trailers?.get('x-why')).toEqual(['gone'])
  })

  it.each<[string, GrpcScript, number, string]>([
    ['RST_STREAM', (call) => call.reset(), status.INTERNAL, 'code 2'],
    ['HTTP without gRPC', (call) => call.answerHttp(503, 'busy'), status.UNAVAILABLE, '503'],
    ['an end without trailers', (call) => call.endWithoutTrailers(), status.INTERNAL, 'code 0'],
    ['a broken connection', (call) => call.break(), status.UNAVAILABLE, ''],
  ])('can fail with %s', async (_name, script, code, text) => {
    const { error } = await ask(clientOf(await serve(script)))
    expect(error?.code).toBe(code)
    expect(error?.details).toContain(text)
  })

  it('sends a compressed message that no header announced', async () => {
    const server = await serve((call) => call.send(Buffer.of(1), { compressed: true }))
    const { error } = await ask(clientOf(server))
    // grpc-js makes a status of this that has neither code nor details.
    expect(error).not.toBeNull()
    expect(error?.code).toBeUndefined()
  })

  it('sends a prefix that promises more than comes', async () => {
    const server = await serve((call) => {
      call.send(Buffer.from('short'), { length: 50 })
      call.finish()
    })
    const { error, message } = await ask(clientOf(server))
    expect(error).not.toBeNull()
    expect(message).toBeUndefined()
  })

  it('refuses a stream so that grpc-js tries it once again by itself', async () => {
    const server = await serve((call, _headers, nth) => (nth === 0 ? call.refuse() : call.answer(Buffer.from('ok'))))
    const { message } = await ask(clientOf(server))
    expect([message, server.streams]).toEqual(['ok', 2])
  })

  it('says goodbye before a stream so that it goes elsewhere, and after it so that it ends here', async () => {
    const server = await serve((call, _headers, nth) => {
      call.goAway(nth === 0 ? { lastStreamId: 0 } : {})
      if (nth > 0) call.answer(Buffer.from('ok'))
    })
    const client = clientOf(server)
    expect((await ask(client)).message).toBe('ok')
    expect([server.streams, server.connections]).toEqual([2, 2])
    expect((await ask(client)).message).toBe('ok')
    expect([server.streams, server.connections]).toEqual([3, 3])
  })

  it('says nothing until the client gives up', async () => {
    let code: number | undefined
    const server = await serve(async (call, _headers, nth) => {
      if (nth === 0) return call.answer(Buffer.from('ok'))
      await call.stall()
      code = call.stream.rstCode
    })
    const client = clientOf(server)
    // A connection takes time of the first call.
    expect((await ask(client)).message).toBe('ok')
    const { error } = await ask(client, 'hello', 3_000)
    expect(error?.code).toBe(status.DEADLINE_EXCEEDED)
    await expect.poll(() => code).toBe(8)
  })

  it('trickles a message byte by byte', async () => {
    const server = await serve(async (call) => {
      await call.trickle(Buffer.from('slow'), 5)
      call.finish()
    })
    expect((await ask(clientOf(server))).message).toBe('slow')
  })

  it('breaks the connection in the middle of a message', async () => {
    const server = await serve((call) => call.break(Buffer.alloc(1_000)))
    const raw = await RawHttp2.connect(server.port)
    opened.push(raw)
    raw.write(frames.headers(1, { ':method': 'POST', ':scheme': 'http', ':authority': 'a', ':path': '/a/B' }))
    expect(await raw.ends()).toBe(true)
    const data = raw.received.filter((frame) => frame.type === 0)
    expect(data.map((frame) => frame.payload.length)).toEqual([503])
  })

  it('speaks TLS', async () => {
    const authority = newAuthority()
    const { key, cert } = craftLeaf(authority, { dnsNames: ['localhost'] })
    const server = await serve((call) => call.answer(Buffer.from('safe')), { tls: { key, cert } })
    const channel = credentials.createSsl(Buffer.from(authority.certificate), null, null, {
      checkServerIdentity: () => undefined,
    })
    expect((await ask(clientOf(server, channel, { 'grpc.ssl_target_name_override': 'localhost' }))).message).toBe(
      'safe',
    )
  })
})
