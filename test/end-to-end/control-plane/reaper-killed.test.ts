/** The reaper is killed with -9 right after a registry that left it work. */
import { faultTest } from './fault-test.ts'

faultTest('kill -9 of the reaper, with a dead registry to look after, costs nothing', {}, async (plane) => {
  const reaper = await plane.reaper()
  const other = plane.registries.find((registry) => registry !== reaper)!
  await other.kill()
  await reaper.kill()
  await plane.goesOn()
  await plane.reaper()
  await Promise.all([other.start(), reaper.start()])
  await plane.goesOn()
})
