import { describe, expect, expectTypeOf, it } from 'vitest'
import type { Duration } from '../../src/options/duration.ts'
import { fields, optional, withDefault } from '../../src/options/fields.ts'
import { duration, integer, rate, share } from '../../src/options/quantities.ts'
import {
  alwaysOn,
  definePolicy,
  type OptionsOf,
  offByDefault,
  onByDefault,
  onRequest,
  type SettingsOf,
} from '../../src/resilience/define-policy.ts'

const definition = definePolicy('example', {
  window: withDefault(duration({ min: 1 }), '10s'),
  maxShare: withDefault(share(), '50%'),
  burst: optional(integer({ min: 1, max: 10 })),
})
const required = definePolicy('required', { rate: rate({ min: 1, max: 10 }) })

describe('the definition of a policy', () => {
  it('takes options as users write them, and names settings by their unit', () => {
    expect(definition.resolve({ window: '1m', maxShare: '10%' })).toEqual({
      windowMs: 60_000,
      maxShare: 0.1,
      burst: undefined,
    })
    expect(required.resolve({ rate: '120/m' })).toEqual({ ratePerSecond: 2 })
  })

  it('infers the types of options and settings', () => {
    expectTypeOf<OptionsOf<typeof definition>>().toExtend<{ readonly window?: Duration; readonly burst?: number }>()
    expectTypeOf<{ window: '3s'; maxShare: '5%' }>().toExtend<OptionsOf<typeof definition>>()
    expectTypeOf<SettingsOf<typeof definition>['windowMs']>().toEqualTypeOf<number>()
    expectTypeOf<SettingsOf<typeof definition>['burst']>().toEqualTypeOf<number | undefined>()
    expectTypeOf<Record<never, never>>().not.toExtend<OptionsOf<typeof required>>()
    // @ts-expect-error a misspelt key
    expect(() => definition.resolve({ windw: '1s' })).toThrow("example: windw: unknown key; did you mean 'window'?")
  })

  it('has frozen defaults, unless an option is required', () => {
    expect(definition.defaults).toEqual({ windowMs: 10_000, maxShare: 0.5, burst: undefined })
    expect(Object.isFrozen(definition.defaults)).toBe(true)
    expect(required.defaults).toBeUndefined()
  })

  it('completes valid settings only', () => {
    const seen: unknown[] = []
    const completed = definePolicy('completed', { burst: withDefault(integer({ min: 1, max: 10 }), 2) }, (settings) => {
      seen.push(settings)
      return { twice: settings.burst * 2 }
    })
    expect(() => completed.resolve({ burst: 11 })).toThrow('burst: expected a whole number from 1 to 10, got 11')
    expect(completed.resolve({ burst: 3 })).toEqual({ twice: 6 })
    expect(seen).toEqual([{ burst: 2 }, { burst: 3 }])
  })

  it('refuses a default that its own field refuses', () => {
    expect(() => withDefault(integer({ min: 1, max: 10 }), 11)).toThrow('expected a whole number from 1 to 10, got 11')
  })
})

describe('a policy in the options of a service', () => {
  const SERVICE = fields({
    always: alwaysOn(definition),
    on: onByDefault(definition),
    off: offByDefault(definition),
    asked: onRequest(definition),
  })
  const parse = (value: object) => {
    const issues: never[] = []
    const parsed = SERVICE.parse(value, [], issues)
    expect(issues).toEqual([])
    return parsed
  }
  const { defaults } = definition

  it('is on or off without options', () => {
    expect(parse({})).toEqual({ always: defaults, on: defaults, off: undefined, asked: undefined })
  })

  it('is off with false, and on with options', () => {
    const given = { window: '1s' }
    const settings = { ...defaults, windowMs: 1_000 }
    expect(parse({ on: false, off: false, asked: false })).toMatchObject({ on: undefined, off: undefined })
    expect(parse({ always: given, on: given, off: given, asked: given })).toEqual({
      always: settings,
      on: settings,
      off: settings,
      asked: settings,
    })
    expect(parse({ asked: true }).asked).toBe(defaults)
  })
})
