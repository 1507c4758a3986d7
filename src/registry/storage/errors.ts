/** What an engine throws. */

/** The history before `oldest` is gone: list again. */
export class CompactedError extends Error {
  override readonly name = 'CompactedError'
  readonly oldest: number

  constructor(afterRevision: number, oldest: number) {
    super(`the history after revision ${afterRevision} is gone; it begins after ${oldest}`)
    this.oldest = oldest
  }
}

/** The store was closed, or cannot be opened or written. The message says what to do. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
}
