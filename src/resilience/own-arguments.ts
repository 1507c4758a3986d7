/**
 * Copies of the arguments by whose contents calls were found equal. An execution that several share must not see
 * what one of its callers does with an argument later: its result would be kept for what the argument was.
 */
import { types } from 'node:util'

/** `args`: what has a default key, so values, Dates, and plain lists and objects of them. */
export function ownArguments<Args extends readonly unknown[]>(args: Args): Args {
  return args.some(isObject) ? (args.map(own) as unknown as Args) : args
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function own(value: unknown): unknown {
  if (!isObject(value)) return value
  if (types.isDate(value)) return new Date(value.getTime())
  // Holes stay holes.
  if (Array.isArray(value)) return value.map((item) => own(item))
  const copy: object = Object.fromEntries(Object.entries(value).map(([key, each]) => [key, own(each)]))
  return Object.getPrototypeOf(value) === null ? Object.setPrototypeOf(copy, null) : copy
}
