/** An older backup takes the place of etcd: under stopped registries, and under running ones. */
import { faultTest } from './fault-test.ts'

faultTest('a restored older backup of etcd empties no service, and the registries go on with it', {}, async (plane) => {
  const file = plane.rig.path('etcd.snapshot')
  for (const [name, stopped] of [
    ['d', true],
    ['e', false],
  ] as const) {
    await plane.etcd.saveSnapshot(`${file}-${name}`)
    // The backup does not know it.
    await plane.serve(name)
    await plane.goesOn()
    if (stopped) await Promise.all(plane.registries.map((registry) => registry.terminate()))
    await plane.etcd.restore(`${file}-${name}`)
    plane.forget()
    if (stopped) await Promise.all(plane.registries.map((registry) => registry.start()))
    await plane.goesOn()
  }
})
