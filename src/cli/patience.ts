/** Says what a command waits for, once that takes longer than people expect. */

const TOLD_AFTER_MS = 1_000

/** Writes a line beside the result. */
export type Tell = (text: string) => void

export async function tellIfSlow<T>(tell: Tell, what: string, work: Promise<T>): Promise<T> {
  const timer = setTimeout(() => tell(`waiting for ${what}`), TOLD_AFTER_MS)
  try {
    return await work
  } finally {
    clearTimeout(timer)
  }
}
