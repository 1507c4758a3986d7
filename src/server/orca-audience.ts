/** The option `orca` of a server. */
import { either } from '../options/composed-fields.ts'
import { exactly, oneOf, withDefault } from '../options/fields.ts'

/** Which foreign callers get a report in the form of ORCA. */
export type OrcaAudience = 'peers' | 'all' | false

export const ORCA_AUDIENCE = withDefault(either(exactly(false), oneOf(['peers', 'all'])), 'peers')
