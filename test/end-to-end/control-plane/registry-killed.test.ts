/** Each of three registries is killed with -9, one after the other. */
import { faultTest } from './fault-test.ts'

faultTest('kill -9 of any registry fails no call and loses nothing that was acknowledged', {}, async (plane) => {
  for (const registry of plane.registries) {
    await registry.kill()
    await plane.goesOn()
    await registry.start()
    await plane.goesOn()
  }
})
