/** The public half of the registry: `inmesh/registry`. Starts one inside a process, such as a test or the command. */
export type { Duration } from '../core/duration.ts'
export { type Issue, OptionsError } from '../core/fields.ts'
export { type ApiCode, ApiError } from './api-error.ts'
export type { RegistryOptions } from './options.ts'
export type { PolicyChange, PolicyDocument } from './policies.ts'
export { type Registry, startRegistry } from './registry.ts'
export { StorageError } from './storage.ts'
