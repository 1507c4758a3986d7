/** The carrier of calls over HTTP: flat headers, `[name, value, ...]`, names in lower case. */
import { type CarrierSetter, HTTP_FORMAT } from './carrier.ts'

/** For headers in which no propagated key was given: nothing is there to replace. */
export const APPENDING: CarrierSetter<string[]> = { format: HTTP_FORMAT, add: append, set: append, remove() {} }

export const REPLACING: CarrierSetter<string[]> = {
  format: HTTP_FORMAT,
  add: append,
  set(flat, name, value) {
    removeHeader(flat, name)
    flat.push(name, value)
  },
  remove: removeHeader,
}

/** Removes all values of `name` (lower case). */
export function removeHeader(flat: string[], name: string): void {
  for (let i = flat.length - 2; i >= 0; i -= 2) if (flat[i] === name) flat.splice(i, 2)
}

function append(flat: string[], name: string, value: string): void {
  flat.push(name, value)
}
