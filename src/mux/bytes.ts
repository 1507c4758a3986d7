/**
 * Text in and out of memory. Node's public methods choose the encoding anew on each call; these
 * name it, as undici's parser does.
 */

interface WithEncodings {
  latin1Slice(from: number, to: number): string
  hexSlice(from: number, to: number): string
  latin1Write(text: string, at: number): number
}

export function readLatin1(bytes: Buffer, from: number, to: number): string {
  return (bytes as unknown as WithEncodings).latin1Slice(from, to)
}

export function readHex(bytes: Buffer, from: number, to: number): string {
  return (bytes as unknown as WithEncodings).hexSlice(from, to)
}

/** Returns how many bytes it has written. */
export function writeLatin1(bytes: Buffer, text: string, at: number): number {
  return (bytes as unknown as WithEncodings).latin1Write(text, at)
}
