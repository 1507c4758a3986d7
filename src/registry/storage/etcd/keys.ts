/** Keys in etcd: all below a prefix, those of the engine itself beginning with a dot. */

/** The end of the range of all keys that begin with `text`. */
export function endOf(text: string): Buffer {
  const end = Buffer.from(text)
  for (let i = end.length - 1; i >= 0; i--) {
    if (end[i]! < 0xff) {
      end[i]! += 1
      return end.subarray(0, i + 1)
    }
  }
  // Every key from `text` on.
  return Buffer.from([0])
}

/** Told to no watch and listed nowhere. */
export function isOwn(key: string): boolean {
  return key.startsWith('.')
}

export const OWN_KEYS = {
  epoch: '.epoch',
  writers: '.writer/',
  writer: (run: string) => `.writer/${run}`,
  election: (name: string) => `.election/${name}`,
}
