/** etcd forgets the changes that a registry has not heard yet: one was cut off, one was paused. */
import { faultTest } from './fault-test.ts'

faultTest('a compaction past the position of a registry loses no change', {}, async (plane) => {
  const [cut, paused] = plane.registries
  cut!.paths.set('severed')
  await plane.goesOn()
  await plane.etcd.compact()
  cut!.paths.set('open')
  await plane.goesOn()
  paused!.signal('SIGSTOP')
  await plane.goesOn()
  await plane.etcd.compact()
  paused!.signal('SIGCONT')
  await plane.goesOn()
})
