import type { NextConfig } from 'next'

const config: NextConfig = {
  // Node loads it as it is: one copy for all layers, with its own workers and sockets.
  serverExternalPackages: ['inmesh'],
}

export default config
