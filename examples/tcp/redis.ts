/**
 * A Redis in the mesh, and ioredis that reaches it by name: over mTLS, with discovery, balancing,
 * ejection and intentions. Redis itself knows nothing of it and listens on a Unix socket.
 */
import assert from 'node:assert/strict'
import { joinMesh } from 'inmesh'
import { AbstractConnector, Redis } from 'ioredis'
import { noRedis, startRedis } from './servers.ts'

const missing = noRedis()
if (missing !== undefined) {
  console.log(`skipped: ${missing}`)
  process.exit()
}

// Beside Redis: one process that forwards to it, and is the instance that callers find.
const server = await startRedis()
const redis = await joinMesh({ service: 'redis' })
await redis.listen('redis', { target: server.socket, maxConnections: 1_000 })

// Somewhere else: the application.
const mesh = await joinMesh({ service: 'checkout' })

class MeshConnector extends AbstractConnector {
  constructor({ disconnectTimeout }: { disconnectTimeout: number }) {
    super(disconnectTimeout)
  }

  override async connect(): Promise<NonNullable<typeof this.stream>> {
    this.stream = mesh.connect('redis')
    return this.stream
  }
}

const client = new Redis({ Connector: MeshConnector as never })
client.on('error', (error) => console.error(error.message))

assert.equal(await client.set('basket:7', 'two apples'), 'OK')
assert.equal(await client.get('basket:7'), 'two apples')
console.log(`get basket:7: ${await client.get('basket:7')}`)

const counts = await Promise.all(Array.from({ length: 1_000 }, () => client.incr('orders')))
assert.equal(Math.max(...counts), 1_000)
console.log(`incr orders: ${Math.max(...counts)}`)

const large = 'x'.repeat(5_000_000)
await client.set('large', large)
assert.equal(await client.get('large'), large)
console.log(`get large: ${large.length} bytes`)

// A subscriber has a connection for itself.
const subscriber = client.duplicate()
const heard = new Promise((resolve) => subscriber.on('message', (_channel, message) => resolve(message)))
await subscriber.subscribe('news')
await client.publish('news', 'an order')
assert.equal(await heard, 'an order')
console.log(`heard: ${await heard}`)

// ioredis connects again by itself when a connection is lost.
const again = new Promise((resolve) => client.once('ready', resolve))
assert.equal(await client.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'no'), 1)
await again
assert.equal(await client.get('basket:7'), 'two apples')
console.log('connected again')

await Promise.all([client.quit(), subscriber.quit()])
await mesh.close()
await redis.close()
await server.stop()
