/** Admission counts what is being written once, whether or not it has reached the state. */
import { expect, test } from 'vitest'
import type { Instance } from '../../src/discovery/instance.ts'
import { LIMITS } from '../../src/discovery/limits.ts'
import { Admission } from '../../src/registry/admission.ts'
import { instanceBytes } from '../../src/registry/service-entry.ts'
import type { RegistryState } from '../../src/registry/state.ts'

const instanceOf = (id: string, filler = ''): Instance => ({
  service: 'stock',
  id,
  address: '10.0.0.1',
  port: 8080,
  protocol: 'http',
  tls: true,
  zone: undefined,
  version: undefined,
  weight: 100,
  metadata: { filler },
  state: 'ready',
})

/** A state that has what `write` has brought. */
function rig() {
  const instances = new Map<string, { instance: Instance }>()
  const service = { instances, bytes: 0 }
  const state = { service: () => service } as unknown as RegistryState
  const write = (instance: Instance): void => {
    const before = instances.get(instance.id)?.instance
    service.bytes += instanceBytes(instance) - (before === undefined ? 0 : instanceBytes(before))
    instances.set(instance.id, { instance })
  }
  return { admission: new Admission(state), write }
}

test('a burst fills a service to its limit although its instances are written before they are released', () => {
  const { admission, write } = rig()
  const releases: (() => void)[] = []
  for (let i = 0; i < LIMITS.instancesPerService; i++) {
    const instance = instanceOf(`i-${i}`)
    releases.push(admission.reserve(instance))
    write(instance)
    // As many as one transaction writes.
    if (releases.length === 100) for (const release of releases.splice(0)) release()
  }
  expect(() => admission.reserve(instanceOf('one-more'))).toThrow(/has 10000 instances already/)
  admission.reserve(instanceOf('i-7'))()
})

test('what is on its way counts, and its place is free once it was refused or released', () => {
  const { admission } = rig()
  const releases = Array.from({ length: LIMITS.instancesPerService }, (_, i) => admission.reserve(instanceOf(`i-${i}`)))
  expect(() => admission.reserve(instanceOf('one-more'))).toThrow(/instances already/)
  expect(() => admission.reserve(instanceOf('one-more'))).toThrow(/instances already/)
  releases[0]!()
  admission.reserve(instanceOf('one-more'))
})

test('bytes count once, and an instance that does not grow is written in a service that is full', () => {
  const { admission, write } = rig()
  const large = 'x'.repeat(1_000_000)
  let last = instanceOf('none')
  expect(() => {
    for (let i = 0; ; i++) {
      const next = instanceOf(`i-${i}`, large)
      const release = admission.reserve(next)
      write(next)
      if (i % 2 === 1) release()
      last = next
    }
  }).toThrow(/exceed 33554432 bytes: give its instances less metadata/)
  admission.reserve({ ...last, weight: 1 })()
  expect(() => admission.reserve({ ...last, metadata: { filler: `${large}${large}` } })).toThrow(/exceed/)
})
