/** Which headers of requests operators may see at all. */
import { field } from '../../options/fields.ts'
import { isSecretHeader } from '../../telemetry/redact.ts'

const NAME = /^[!#$%&'*+.^`|~0-9a-z-]+$/

/** The name of a header that a tap may show, in lower case. */
export const TAP_HEADER = field<string>(
  "the name of a header in lower case, and none that holds secrets, such as 'authorization' or 'cookie'",
  { type: 'string', pattern: NAME.source, maxLength: 64 },
  (value) =>
    typeof value === 'string' && value.length <= 64 && NAME.test(value) && !isSecretHeader(value) ? value : undefined,
)
