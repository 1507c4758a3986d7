import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import { joinMesh } from '../../src/index.ts'
import { startRegistry } from '../../src/registry/index.ts'

it('a drain during which the registry fails waits its whole notice, because watchers may not have seen it', async () => {
  const registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  const mesh = await joinMesh({
    service: 'inventory',
    registry: registry.url,
    stateDir: 'memory',
    handleSignals: false,
    drainNotice: '3s',
    drainTimeout: '1s',
    joinTimeout: '30s',
  })
  await mesh.serve((_request, response) => response.end('ok'), { host: '127.0.0.1' })
  await registry.close()
  await expect.poll(() => mesh.events().some(({ name }) => name === 'registry:lost')).toBe(true)
  const at = performance.now()
  await mesh.close()
  // The bound of a drain of which no one can tell who saw it was 2 s.
  expect(performance.now() - at).toBeGreaterThan(2_900)
})

it('a drain waits its whole notice for a caller whose connection to the registry broke', async () => {
  const registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  const sockets: Socket[] = []
  const relay = createServer((from) => {
    const to = connect(registry.port, '127.0.0.1')
    sockets.push(from, to)
    for (const socket of [from, to]) socket.on('error', () => {})
    from.pipe(to).pipe(from)
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const options = {
    stateDir: 'memory',
    handleSignals: false,
    drainNotice: '3s',
    drainTimeout: '1s',
    joinTimeout: '30s',
  } as const
  const mesh = await joinMesh({ ...options, service: 'inventory', registry: registry.url })
  await mesh.serve((_request, response) => response.end('ok'), { host: '127.0.0.1' })
  const cutOff = `https://127.0.0.1:${(relay.address() as AddressInfo).port}`
  const caller = await joinMesh({ ...options, service: 'checkout', registry: cutOff })
  const leaver = await joinMesh({ ...options, service: 'checkout', registry: registry.url })
  for (const one of [caller, leaver]) expect((await one.http('inventory').get('/')).status).toBe(200)
  await leaver.close()
  relay.close()
  for (const socket of sockets) socket.destroy()
  await expect.poll(() => registry.counts.sessions).toBe(1)
  const at = performance.now()
  await mesh.close()
  expect(performance.now() - at).toBeGreaterThan(2_900)
  await Promise.all([caller.close(), registry.close()])
})

it('a drain does not wait for a caller that SIGTERM has ended in order', async () => {
  const registry = await startRegistry({ port: 0, memory: true, dev: true, log: false })
  const options = {
    registry: registry.url,
    stateDir: 'memory',
    handleSignals: false,
    drainNotice: '30s',
    joinTimeout: '30s',
  } as const
  const mesh = await joinMesh({ ...options, service: 'inventory' })
  await mesh.serve((_request, response) => response.end('ok'), { host: '127.0.0.1' })
  const program = `
    import { joinMesh } from ${JSON.stringify(new URL('../../src/index.ts', import.meta.url).href)}
    const mesh = await joinMesh(${JSON.stringify({ ...options, service: 'checkout', handleSignals: true })})
    await mesh.serve((request, response) => response.end('ok'), { host: '127.0.0.1' })
    await mesh.http('inventory').get('/')
    process.kill(process.pid, 'SIGTERM')`
  const caller = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' })
  expect((await once(caller, 'exit'))[0]).toBe(0)
  await expect.poll(() => registry.counts.sessions).toBe(1)
  const at = performance.now()
  await mesh.close()
  expect(performance.now() - at).toBeLessThan(20_000)
  await registry.close()
})
