import { expect, test } from 'vitest'
import { MemoryStorage } from '../../../src/registry/storage/memory.ts'
import { OneHistory } from '../../../src/registry/storage/one-history.ts'
import type { Batch, StorageStatus } from '../../../src/registry/storage/storage.ts'

/** A store in which a test puts another history. */
class Restored extends MemoryStorage {
  #epoch: string | undefined
  readonly #told = new Set<(status: StorageStatus) => void>()

  override status(): StorageStatus {
    return { ...super.status(), ...(this.#epoch !== undefined && { epoch: this.#epoch }) }
  }

  override onStatus(listener: (status: StorageStatus) => void = () => {}): () => void {
    this.#told.add(listener)
    return () => this.#told.delete(listener)
  }

  restore(): void {
    this.#epoch = 'another'
    for (const told of this.#told) told(this.status())
  }
}

test('a store in another history is over: it tells nothing, takes nothing, and keeps its epoch', async () => {
  const store = new Restored()
  let over = 0
  const history = new OneHistory(store, () => over++)
  const { epoch } = history.status()
  const heard: Batch[] = []
  const statuses: StorageStatus[] = []
  await history.watch('', 0, (batch) => heard.push(batch))
  history.onStatus((status) => statuses.push(status))
  await history.transact([], [{ key: 'a', value: '1' }])
  const inFlight = history.transact([], [{ key: 'b', value: '1' }])
  store.restore()
  const before = heard.length
  store.restore()
  expect(over).toBe(1)
  await expect(inFlight).rejects.toThrow('replaced by a backup')
  await expect(history.transact([], [{ key: 'c', value: '1' }])).rejects.toThrow('replaced by a backup')
  await expect(history.announce('d', '1')).rejects.toThrow('replaced by a backup')
  await store.transact([], [{ key: 'a', value: undefined }])
  expect(heard).toHaveLength(before)
  expect(statuses).toMatchObject([{ epoch, writable: false }])
  expect(history.status()).toMatchObject({ epoch, writable: false })
  await history.close()
})
