/** What every wrong input must come to: one OptionsError that says where and what. */
import { expect } from 'vitest'
import { OptionsError } from '../../src/index.ts'

export function expectMistake(error: unknown, field: string, valid: RegExp): void {
  expect(error).toBeInstanceOf(OptionsError)
  const { issues, message } = error as OptionsError
  expect(issues).toHaveLength(1)
  expect(issues[0]!.path[0]).toBe(field)
  expect(message).toContain(field)
  expect(message).toMatch(valid)
  expect(message.length).toBeLessThan(600)
}

export async function errorOf(work: () => unknown): Promise<unknown> {
  try {
    await work()
  } catch (error) {
    return error
  }
  throw new Error('it was taken')
}
