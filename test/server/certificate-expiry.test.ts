/** After a stall, what both ends had no turn to show does not count as missing. */
import type { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { PeerProof } from '../../src/client/peer-end.ts'
import { CertificateExpiry } from '../../src/server/certificate-expiry.ts'
import type { Connection } from '../../src/server/connection.ts'
import { FakeClock } from '../../src/testing/fake-clock.ts'

const raw = new Uint8Array()

function accepted(expiresAt: number, cut: string[]): Connection {
  const socket = { destroy: () => cut.push('cut') } as unknown as Socket
  const caller = { spiffeId: 'spiffe://mesh.test/service/checkout' }
  return { caller, expiresAt, inFlight: 1, socket } as Connection
}

function serving(): { clock: FakeClock; cut: string[]; connections: Set<Connection> } {
  const clock = new FakeClock()
  const cut: string[] = []
  const connections = new Set([accepted(clock.wallNow() + 20_000, cut)])
  new CertificateExpiry(clock, () => connections).watch()
  clock.advance(18_500)
  return { clock, cut, connections }
}

it('a server that stalls past the end of a certificate accepts the new connection before it cuts the old one', () => {
  const { clock, cut, connections } = serving()
  clock.stall(5_000)
  expect(cut).toEqual([])
  connections.add(accepted(clock.wallNow() + 20_000, cut))
  clock.advance(15_000)
  expect(cut).toEqual([])
})

it('a server that stalled cuts a second later what no new connection vouches for, and at once after a long stall', () => {
  const { clock, cut } = serving()
  clock.stall(5_000)
  clock.advance(1_000)
  expect(cut).toEqual(['cut'])
  const other = serving()
  other.clock.stall(12_000)
  expect(other.cut).toEqual(['cut'])
})

it('a client that stalls past the end of a certificate reads the new one before it cuts the connection', () => {
  const clock = new FakeClock()
  const cut: string[] = []
  const endsAt = clock.wallNow() + 20_000
  const proof = new PeerProof()
  const connection = { peer: { raw, endsAt }, endsAt, retireAt: 0, cut: () => cut.push('cut') }
  proof.add(connection)
  const look = (ms: number): void => {
    clock.advance(ms)
    proof.cutEnded(new Set([connection]), clock)
  }
  for (let i = 0; i < 18; i++) look(1_000)
  look(5_000)
  expect(cut).toEqual([])
  proof.add({ peer: { raw, endsAt: endsAt + 10_000 } })
  look(1_000)
  expect(cut).toEqual([])
  for (let i = 0; i < 7; i++) look(1_000)
  expect(cut).toEqual(['cut'])
})
