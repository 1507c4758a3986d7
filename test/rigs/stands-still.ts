/** Waits until a number stands still over twenty turns of the event loop, which read sockets. */
export async function standsStill(look: () => number): Promise<void> {
  let last = look()
  for (let turns = 0; turns < 20; turns++) {
    await new Promise((resolve) => setTimeout(resolve, 2))
    const now = look()
    if (now !== last) turns = 0
    last = now
  }
}
