/** The node of etcd that leads is killed with -9, and comes back. */
import { faultTest } from './fault-test.ts'

faultTest('kill -9 of the etcd leader stalls writes for a moment and loses none', {}, async (plane) => {
  for (let i = 0; i < 2; i++) {
    const leader = await plane.etcd.leader()
    await leader.kill()
    await plane.goesOn()
    leader.start()
    await leader.healthy()
    await plane.goesOn()
  }
})
