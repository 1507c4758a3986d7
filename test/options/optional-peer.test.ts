import { describe, expect, it } from 'vitest'
import { OptionsError } from '../../src/options/fields.ts'
import { requirePeer } from '../../src/options/optional-peer.ts'

function mistake(name: string, oldest: string): OptionsError {
  try {
    requirePeer(name, oldest, 'mesh.grpc')
  } catch (error) {
    if (error instanceof OptionsError) return error
    throw error
  }
  throw new Error('it was taken')
}

describe('an optional package', () => {
  it('that is not installed is named, with how to get it', () => {
    const error = mistake('a-package-that-nobody-has', '1.2.3')
    expect(error.message).toContain('mesh.grpc')
    expect(error.message).toContain('which is not installed: npm install a-package-that-nobody-has@^1.2.3')
    expect((error.cause as { code?: string }).code).toBe('MODULE_NOT_FOUND')
  })

  it.each(['1.15.0', '1.14.99', '2.0.0', '0.9.0'])('of another version than ^%s is named with both', (oldest) => {
    const error = mistake('grpc-js-oldest', oldest)
    expect(error.message).toContain(
      `needs grpc-js-oldest ^${oldest}, found 1.14.4: npm install grpc-js-oldest@^${oldest}`,
    )
  })

  it.each(['1.14.4', '1.14.3', '1.9.99', '1.0.0'])('of version ^%s is taken, and is the same each time', (oldest) => {
    const once = requirePeer<{ Metadata: unknown }>('grpc-js-oldest', oldest, 'mesh.grpc')
    expect(typeof once.Metadata).toBe('function')
    expect(requirePeer('grpc-js-oldest', oldest, 'mesh.serveGrpc')).toBe(once)
  })
})
