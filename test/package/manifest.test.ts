/** What the manifest promises to npm. */
import { describe, expect, it } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }

describe('peer dependencies', () => {
  it('are optional', () => {
    expect(Object.keys(manifest.peerDependenciesMeta)).toEqual(Object.keys(manifest.peerDependencies))
    for (const { optional } of Object.values(manifest.peerDependenciesMeta)) expect(optional).toBe(true)
  })

  it('name no SDK of OpenTelemetry: npm could not install inmesh beside one of the other generation', () => {
    const ofTelemetry = Object.keys(manifest.peerDependencies).filter((name) => name.startsWith('@opentelemetry/'))
    expect(ofTelemetry).toEqual(['@opentelemetry/api'])
  })
})
