/** What a change of the trust bundle means for the open connections of servers. */
import { once } from 'node:events'
import { expect, it } from 'vitest'
import type { Authority } from '../../src/identity/certificate.ts'
import { opened } from '../client/http/opened.ts'
import { endpoint, makeRig } from '../client/http/rig.ts'
import { clientIdentity } from '../client/identity-rig.ts'
import { newAuthority, newBundle, newIdentity, newIntermediate } from '../rigs/certificates.ts'
import { serveShop, shopClient } from './grpc/rig.ts'
import { authority as former, type RecordedEvents, serve } from './rig.ts'

const next = newAuthority()
const intermediate = newIntermediate(next)
const both = newBundle([former.certificate, next.certificate], 2, { intermediates: [intermediate.certificate] })
const nextOnly = newBundle([next.certificate], 3, { intermediates: [intermediate.certificate] })

const refusals = (events: RecordedEvents) => events.of('peer:refused').map(({ reason }) => reason)

const run = (end: () => void): void => end()

async function http() {
  const ends: (() => void)[] = []
  const { server, identity, events } = await serve(
    (request, response) => {
      if (request.url === '/long') {
        response.write('begun')
        ends.push(() => response.end(' and ended'))
      } else response.end('done')
    },
    { mode: 'strict' },
  )
  const bundle = (change: typeof both) => identity.rotate({ ...identity.current, ...change })
  bundle(both)
  const client = async (ours = newIdentity(former, 'checkout')) => {
    const trusting = clientIdentity({ ...ours, ...both }).identity
    const rig = opened(await makeRig([endpoint(server.port, { tls: true })], { identity: trusting, timeoutMs: 20_000 }))
    const call = async () => await (await rig.http.post('/', 'x')).text()
    /** Begins an answer, and resolves once it has begun. */
    const long = async () => {
      const answer = await rig.http.post('/long', 'x')
      return { whole: answer.text().catch((error) => error) }
    }
    return { rig, call, long }
  }
  return { server, events, bundle, client, end: () => ends.forEach(run) }
}

it('none over HTTP, while it trusts the caller of the connection', async () => {
  const { server, bundle, client, end } = await http()
  const { call, long } = await client()
  const running = await long()
  expect(await call()).toBe('done')
  const { connections, accepted } = server.stats
  bundle({ ...both, sequence: 3 })
  expect(await call()).toBe('done')
  expect(server.stats).toMatchObject({ connections, accepted })
  end()
  expect(await running.whole).toBe('begun and ended')
})

it('over HTTP, a caller whose root was withdrawn is refused as not executed, and what runs is cut', async () => {
  const { events, bundle, client } = await http()
  const { call, long } = await client()
  const running = await long()
  expect(await call()).toBe('done')
  bundle(nextOnly)
  expect(await call().catch((error) => error)).toMatchObject({ code: 'identity-rejected', sent: false })
  expect(await running.whole).toBeInstanceOf(Error)
  expect(refusals(events)).toContain('untrusted-issuer')
})

it('over HTTP, what runs goes on while the same identity shows a certificate of the new root', async () => {
  const { bundle, client, end } = await http()
  const before = await client()
  const running = await before.long()
  const after = await client(newIdentity(intermediate, 'checkout'))
  expect(await after.call()).toBe('done')
  bundle(nextOnly)
  await new Promise((resolve) => setTimeout(resolve, 2_500))
  expect(await after.call()).toBe('done')
  end()
  expect(await running.whole).toBe('begun and ended')
})

it('over gRPC, a caller whose root was withdrawn is cut off, and others go on', async () => {
  const { server, identity } = await serveShop(
    { Watch: (call) => void call.write({ sku: 'a', left: 1 }) },
    { mode: 'strict' },
  )
  identity.rotate({ ...identity.current, ...both })
  const watch = async (signer: Authority) => {
    const { privateKey: key, certificate: cert } = newIdentity(signer, 'checkout')
    const stream = shopClient(server.port, { key, cert }).watch({ sku: 'a' })
    const ended = new Promise<Error>((resolve) => stream.on('error', resolve))
    await once(stream, 'data')
    return { ended, stream }
  }
  const before = await watch(former)
  identity.rotate({ ...identity.current, ...nextOnly })
  expect(await before.ended).toMatchObject({ code: 14 })
  const after = await watch(intermediate)
  let lost = false
  void after.ended.then(() => (lost = true))
  identity.rotate({ ...identity.current, ...nextOnly, sequence: 5 })
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  expect(lost).toBe(false)
  after.stream.cancel()
})
