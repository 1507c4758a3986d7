/** How long a stranger may be silent, by a clock that tells of our own stalls. */
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { type AcceptedConnection, RegistryConnections } from '../../src/registry/connections.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

function accepted(clock: FakeClock): { connections: RegistryConnections; connection: AcceptedConnection } {
  const connections = new RegistryConnections(clock)
  return { connections, connection: connections.accept(new Socket())! }
}

test('a handshake has 10 s, and the head of the first request 5 s from its end', () => {
  const clock = new FakeClock()
  const { connections, connection } = accepted(clock)
  clock.advance(9_500)
  expect(connection.socket.destroyed).toBe(false)
  connection.secure()
  clock.advance(4_500)
  expect(connection.socket.destroyed).toBe(false)
  clock.advance(2_000)
  expect(connection.socket.destroyed).toBe(true)
  connections.close()
})

test('a handshake that does not end is cut', () => {
  const clock = new FakeClock()
  const { connections, connection } = accepted(clock)
  clock.advance(11_500)
  expect(connection.socket.destroyed).toBe(true)
  connections.close()
})

test('the time in which the registry stood still is not counted as silence of those who connect', () => {
  const clock = new FakeClock()
  const { connections, connection } = accepted(clock)
  connection.secure()
  clock.advance(3_000)
  clock.stall(10_000)
  clock.advance(1_500)
  expect(connection.socket.destroyed).toBe(false)
  clock.advance(2_000)
  expect(connection.socket.destroyed).toBe(true)
  connections.close()
})
