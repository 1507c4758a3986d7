/** Next calls this once, when a server starts; it answers no request before. */
export async function register(): Promise<void> {
  // The edge runtime has no sockets. Next removes this branch from what it builds for it.
  if (process.env.NEXT_RUNTIME === 'nodejs') {
    const { mesh } = await import('./lib/mesh')
    try {
      await mesh()
    } catch (error) {
      // The registry refused: `next start` would print Ready, and answer 500 to every request.
      console.error(error)
      process.exit(1)
    }
  }
}
