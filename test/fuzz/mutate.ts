/** Changes of an exchange, by a seeded source of chance: the same seed makes the same bytes. */

/** mulberry32. */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, below). */
  next(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * below)
  }

  of<T>(values: readonly T[]): T {
    return values[this.next(values.length)]!
  }
}

const TOKENS = [
  '\r\n', '\r\n\r\n', '\n', '\0', ' ', '\t', ':', ';', ',', '\xff', 'HTTP/1.1', 'HTTP/2.0', 'PRI * HTTP/2.0', 'Transfer-Encoding: chunked\r\n',
  'Content-Length: 0\r\n', 'Content-Length: 99999999999\r\n', 'Host: a\r\n', 'Host: [::1\r\n', 'Expect: 100-continue\r\n', 'Upgrade: a\r\n',
  'Connection: upgrade, close\r\n', '0\r\n\r\n', 'ffffffff\r\n', '{"__proto__":{}}', '[[[[[[[[', 'eyJ-eyJ-', '..%2f', '%', '%c0%af', '1n', '-1',
].map((token) => Buffer.from(token, 'latin1')) // biome-ignore format: a table

/**
 * Up to five changes: bits, tokens, lost, doubled, moved and cut pieces, and pieces of another
 * exchange.
 */
export function mutate(bytes: Buffer, others: readonly Buffer[], chance: Chance): Buffer {
  let mutated: Buffer = Buffer.from(bytes)
  for (let left = chance.next(6); left > 0; left--) mutated = change(mutated, others, chance)
  return mutated.length > 65_536 ? mutated.subarray(0, 65_536) : mutated
}

function change(bytes: Buffer, others: readonly Buffer[], chance: Chance): Buffer {
  const at = chance.next(bytes.length + 1)
  const end = Math.min(bytes.length, at + 1 + chance.next(64))
  const [before, piece, after] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)]
  switch (chance.next(8)) {
    case 0: {
      if (piece.length > 0) piece[0] = piece[0]! ^ (1 << chance.next(8))
      return bytes
    }
    case 1:
      if (piece.length > 0) piece[0] = chance.next(256)
      return bytes
    case 2:
      return Buffer.concat([before, chance.of(TOKENS), piece, after])
    case 3:
      return Buffer.concat([before, after])
    case 4:
      return Buffer.concat([before, piece, piece, after])
    case 5:
      return before
    case 6:
      return Buffer.concat([before, ...Array.from({ length: chance.next(200) }, () => piece), after])
    default:
      return Buffer.concat([bytes, chance.of(others)])
  }
}
