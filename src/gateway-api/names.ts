/** The forms of names in Gateway API manifests, as the specification's own patterns say. */
import { TOKEN } from '../core/headers.ts'
import { type Field, field, text } from '../options/fields.ts'

const LABEL = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/
const SUBDOMAIN = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/
const NUMERIC_ADDRESS = /^\d{1,3}(?:\.\d{1,3}){3}$/

export const namespaceName = (): Field<string> => text('the name of a namespace', LABEL, 63)
/** Of a manifest. */
export const objectName = (): Field<string> =>
  text("the name of an object: lower-case letters, digits, '-' and '.'", SUBDOMAIN, 253)
/** Of a rule of a route, or of a port. */
export const sectionName = (): Field<string> =>
  text("a name of lower-case letters, digits, '-' and '.'", SUBDOMAIN, 253)
export const headerName = (): Field<string> => text('the name of a header, such as x-user', TOKEN, 256)
/** What Kubernetes allows as a name of a header or a parameter. */
export const tokenName = (): Field<string> => text('a name without spaces', TOKEN, 256)

/** A host without wildcard and port, and no numeric address. */
export function hostName(): Field<string> {
  const expected = "the name of a host in lower case, such as 'shop.example'; no port and no numeric address"
  return field(expected, { type: 'string', pattern: SUBDOMAIN.source, maxLength: 253 }, (value) =>
    typeof value === 'string' && value.length <= 253 && SUBDOMAIN.test(value) && !NUMERIC_ADDRESS.test(value)
      ? value
      : undefined,
  )
}

/** Text of 1 to `max` characters. */
export function nonEmpty(what: string, max: number): Field<string> {
  return field(`${what} of 1 to ${max} characters`, { type: 'string', minLength: 1, maxLength: max }, (value) =>
    typeof value === 'string' && value.length >= 1 && value.length <= max ? value : undefined,
  )
}
