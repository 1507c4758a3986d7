/** The registries are replaced one after the other, as a deployment does it. */
import { faultTest } from './fault-test.ts'

faultTest('a rolling restart of the registries fails no call and loses nothing', {}, async (plane) => {
  for (const registry of plane.registries) {
    await registry.terminate()
    await registry.start()
    await plane.goesOn()
  }
})
