/**
 * Who waits for the state of a client's channel hears of what comes, of what goes, of the deadline
 * and of the end.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import * as grpc from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { deadPort } from '../../rigs/dead-port.ts'
import { until } from '../http/rig.ts'
import { type GrpcRig, grpcEndpoint, grpcRigOver } from './rig.ts'

const { READY, IDLE } = grpc.connectivityState
const DAY = 86_400_000

function ready(rig: GrpcRig, deadline: grpc.Deadline): Promise<string> {
  return new Promise((resolve) => rig.client.waitForReady(deadline, (error) => resolve(error?.message ?? 'ready')))
}

describe('waiting for the state of a channel', () => {
  it.each([
    ['soon', () => Date.now() + 30],
    ['now', () => Date.now()],
    ['in the past', () => new Date(1)],
    ['-Infinity', () => Number.NEGATIVE_INFINITY],
  ])('ends with the deadline: %s', async (_name, deadline) => {
    expect(await ready(grpcRigOver([]), deadline())).toBe('Failed to connect before the deadline')
  })

  it.each([
    ['in time', () => Date.now() + 20_000],
    ['in 30 days', () => Date.now() + 30 * DAY],
    ['in 300 years, as a Date', () => new Date(Date.now() + 300 * 365 * DAY)],
    ['never', () => Number.POSITIVE_INFINITY],
  ])('waits for an endpoint, and no longer timer than Node has overflows: %s', async (_name, deadline) => {
    const warnings: string[] = []
    const warn = ({ name }: Error): unknown => name === 'TimeoutOverflowWarning' && warnings.push(name)
    process.on('warning', warn)
    const rig = grpcRigOver([])
    const told = ready(rig, deadline())
    await until(() => rig.cluster.watchers === 1)
    rig.cluster.add(grpcEndpoint(await deadPort()))
    expect(await told).toBe('ready')
    expect(rig.cluster.watchers).toBe(0)
    process.off('warning', warn)
    expect(warnings).toEqual([])
  })

  it('hears that the last endpoint goes', async () => {
    const rig = grpcRigOver([await deadPort()])
    const channel = rig.client.getChannel()
    const told = new Promise<unknown>((resolve) => channel.watchConnectivityState(READY, Date.now() + 20_000, resolve))
    rig.cluster.remove(rig.endpoint)
    expect(await told).toBeUndefined()
    expect(channel.getConnectivityState(false)).not.toBe(READY)
  })

  it('hears at once, but later, of a state that is another already', async () => {
    const channel = grpcRigOver([await deadPort()]).client.getChannel()
    let sync = true
    const told = new Promise<boolean>((resolve) =>
      channel.watchConnectivityState(IDLE, Number.POSITIVE_INFINITY, () => resolve(sync)),
    )
    sync = false
    expect(await told).toBe(false)
  })

  it('hears that the client was closed', async () => {
    const rig = grpcRigOver([])
    const told = ready(rig, Number.POSITIVE_INFINITY)
    await until(() => rig.cluster.watchers === 1)
    rig.client.close()
    expect(await told).toBe('The channel has been closed')
  })

  it('is called back in the context of who waits, and may throw', async () => {
    const user = new AsyncLocalStorage<string>()
    const rig = grpcRigOver([])
    const heard = ['a', 'b'].map((name) =>
      user.run(
        name,
        () =>
          new Promise((resolve) =>
            rig.client
              .getChannel()
              .watchConnectivityState(grpc.connectivityState.CONNECTING, Number.POSITIVE_INFINITY, () =>
                resolve(user.getStore()),
              ),
          ),
      ),
    )
    await until(() => rig.cluster.watchers === 1)
    const dead = grpcEndpoint(await deadPort())
    user.run('c', () => rig.cluster.add(dead))
    expect(await Promise.all(heard)).toEqual(['a', 'b'])
  })

  it.each([
    ['NaN', Number.NaN],
    ['an invalid Date', new Date('never')],
    ['a text', '5s' as never],
  ])('a deadline that is no instant is refused, for a call as well: %s', async (_name, deadline) => {
    const rig = grpcRigOver([])
    expect(() => rig.client.get({ sku: 'a' }, new grpc.Metadata(), { deadline }, () => {})).toThrow(
      /deadline: expected/,
    )
    expect(await ready(rig, deadline)).toBe('The channel has been closed')
  })
})
