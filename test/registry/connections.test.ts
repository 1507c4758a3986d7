/** How long a stranger may be silent, by a clock that tells of our own stalls. */
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { RegistryConnections } from '../../src/registry/connections.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

test('the time in which the registry stood still is not counted as silence of those who connect', () => {
  const clock = new FakeClock()
  const connections = new RegistryConnections(clock)
  const socket = new Socket()
  connections.accept(socket)
  clock.advance(3_000)
  clock.stall(10_000)
  clock.advance(1_500)
  expect(socket.destroyed).toBe(false)
  clock.advance(2_000)
  expect(socket.destroyed).toBe(true)
  connections.close()
})
