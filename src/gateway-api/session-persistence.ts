/** `sessionPersistence` of a rule (GEP-1619): a session stays with the endpoint that began it. */
import { type Field, field, fields, type Issue, oneOf, optional, type Parsed, type Path } from '../options/fields.ts'
import { gatewayDuration } from './duration.ts'
import { headerName, tokenName } from './names.ts'

const MOST_LIFE_MS = 99_999 * 3_600_000

const cookiePath = (): Field<string> =>
  field('a path of at most 1024 characters', { type: 'string', maxLength: 1_024 }, (value) =>
    typeof value === 'string' && value.length <= 1_024 ? value : undefined,
  )

export const SESSION_PERSISTENCE = fields({
  type: optional(oneOf(['Cookie', 'Header'])),
  absoluteTimeout: optional(gatewayDuration(MOST_LIFE_MS)),
  cookie: optional(
    fields({
      name: optional(tokenName()),
      path: optional(cookiePath()),
      lifetimeType: optional(oneOf(['Session', 'Permanent'])),
    }),
  ),
  header: optional(fields({ name: headerName() })),
})

export type SessionPersistence = Parsed<typeof SESSION_PERSISTENCE>

export function checkSessionPersistence(session: SessionPersistence, at: Path, issues: Issue[]): void {
  const { type = 'Cookie', absoluteTimeout, cookie, header } = session
  if (type !== 'Cookie' && cookie !== undefined) {
    issues.push({ path: [...at, 'cookie'], message: "does not belong to type 'Header'" })
  }
  if (type !== 'Header' && header !== undefined) {
    issues.push({ path: [...at, 'header'], message: "does not belong to type 'Cookie'" })
  }
  if (type === 'Header' && header === undefined) issues.push({ path: at, message: "has type 'Header' and no 'header'" })
  if (cookie?.lifetimeType === 'Permanent' && absoluteTimeout === undefined) {
    issues.push({
      path: [...at, 'absoluteTimeout'],
      message: "is missing; a cookie of lifetimeType 'Permanent' needs it",
    })
  }
}
