/** What registries publish by service. */
import { expect, test } from 'vitest'
import { FleetRecords } from '../../../src/registry/fleet/fleet-records.ts'
import { silentElsewhere } from '../../../src/registry/fleet/silence.ts'

test('a service named like a member of every object has only what was published of it', () => {
  const records = new FleetRecords()
  records.set('silent', 'r2', { inventory: 2 })
  records.set('seen', 'r2', { inventory: [5, 1] })
  records.set('demand', 'r2', { inventory: { processes: 1, instances: 1, perSecond: {} } })
  expect(silentElsewhere(records.silent, 'r1', 'constructor')).toBe(0)
  expect(silentElsewhere(records.silent, 'r1', 'inventory')).toBe(2)
  for (const published of [records.silent, records.seen, records.demand]) {
    const [record] = published.values()
    expect(record!.constructor).toBeUndefined()
    expect(record!.inventory).toBeDefined()
  }
})
