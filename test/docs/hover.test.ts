/** What an editor shows over an option: what it does, its unit and its default. */
import { describe, expect, it } from 'vitest'
import { type Option, publishedOptions } from './hover-texts.ts'

const OF_TIME = /(?:timeout|interval|delay|wait|window|lease|life|ttl|grace|notice|age|ms|resetAfter)$/i
const UNIT = /\b(?:ms|milliseconds|s|seconds|min|minutes|h|hours)\b/

const isFormer = ({ tags }: Option): boolean => tags.includes('deprecated')
const names = (options: readonly Option[]): readonly string[] => options.map(({ name }) => name)

describe('the options in the published types', () => {
  const options = publishedOptions().filter((option) => !isFormer(option))

  it('are found in every way into the package', () => {
    expect(names(options)).toEqual(
      expect.arrayContaining([
        'MeshOptions.joinTimeout',
        'MeshFetchInit.timeout',
        'ServiceOptions.balancer',
        'GuardOptions.timeout',
        'RegistryOptions.lease',
        'HealthOptions.readyz',
        'MeshServerGrpcOptions.mesh',
      ]),
    )
  })

  it('have a text', () => {
    expect(names(options.filter(({ text }) => text === ''))).toEqual([])
  })

  it('say what holds without them', () => {
    const silent = options.filter(
      ({ isOptional, isGroup, tags }) => isOptional && !isGroup && !tags.includes('defaultValue'),
    )
    expect(names(silent)).toEqual([])
  })

  it('have a unit where they are a time', () => {
    const bare = options.filter(
      ({ name, type, text }) => OF_TIME.test(name) && /\bnumber\b/.test(type) && !UNIT.test(text),
    )
    expect(names(bare)).toEqual([])
  })
})
