/**
 * MurmurHash3, 32-bit (Austin Appleby, public domain, smhasher), over UTF-16 code units. It avoids
 * BigInts and encoding, and all processes of a mesh hash alike.
 */

/** The hash of a text, from 0 to 2^32 - 1. Another `seed` gives an independent hash. */
export function hashText(text: string, seed: number): number {
  const length = text.length
  let hash = seed | 0
  for (let i = 0; i + 1 < length; i += 2) {
    hash ^= scramble(text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16))
    hash = (hash << 13) | (hash >>> 19)
    hash = (Math.imul(hash, 5) + 0xe6546b64) | 0
  }
  if ((length & 1) === 1) hash ^= scramble(text.charCodeAt(length - 1))
  return mix(hash ^ (2 * length))
}

/**
 * Murmur's finalizer: each bit of the argument changes each bit of the result with a probability of
 * one half.
 */
export function mix(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function scramble(block: number): number {
  block = Math.imul(block, 0xcc9e2d51)
  return Math.imul((block << 15) | (block >>> 17), 0x1b873593)
}
