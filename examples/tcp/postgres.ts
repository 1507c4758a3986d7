/**
 * A PostgreSQL in the mesh, and `pg` that reaches it by name, through its `stream` option.
 * PostgreSQL itself knows nothing of it and listens on a Unix socket.
 */
import assert from 'node:assert/strict'
import { joinMesh } from 'inmesh'
import pg from 'pg'
import { noPostgres, startPostgres } from './servers.ts'

const missing = noPostgres()
if (missing !== undefined) {
  console.log(`skipped: ${missing}`)
  process.exit()
}

// Beside PostgreSQL: one process that forwards to it, and is the instance that callers find.
const server = await startPostgres()
const postgres = await joinMesh({ service: 'postgres' })
await postgres.listen('postgres', { target: server.socket, maxConnections: 100 })

// Somewhere else: the application. Each client of the pool has a connection through the mesh.
const mesh = await joinMesh({ service: 'checkout' })
const pool = new pg.Pool({ user: 'app', database: 'postgres', max: 5, stream: () => mesh.connect('postgres') })

await pool.query('CREATE TABLE orders (id int PRIMARY KEY, what text)')
await Promise.all(
  Array.from({ length: 100 }, (_, id) => pool.query('INSERT INTO orders VALUES ($1, $2)', [id, `order ${id}`])),
)
const { rows } = await pool.query('SELECT count(*)::int AS orders FROM orders')
assert.deepEqual(rows, [{ orders: 100 }])
console.log(`orders: ${rows[0]?.orders}, over ${pool.totalCount} connections`)

const client = await pool.connect()
await client.query('BEGIN')
await client.query('DELETE FROM orders')
await client.query('ROLLBACK')
client.release()
const { rows: left } = await pool.query('SELECT what FROM orders WHERE id = 42')
assert.deepEqual(left, [{ what: 'order 42' }])
console.log(`after a rollback: ${left[0]?.what}`)

const { rows: large } = await pool.query("SELECT repeat('x', 5000000) AS text")
assert.equal(large[0]?.text.length, 5_000_000)
console.log(`a large row: ${large[0]?.text.length} bytes`)

await pool.end()
await mesh.close()
await postgres.close()
await server.stop()
