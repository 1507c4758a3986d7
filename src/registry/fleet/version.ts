/** The version of this program, as registries tell it each other. */
import { createRequire } from 'node:module'

export const { version: VERSION } = createRequire(import.meta.url)('../../../package.json') as { version: string }
