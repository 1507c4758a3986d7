/** When the servers of the benches answer: at once, or at times that differ from call to call. */

/** The path of answers that come after {@link APART_MS} on average, from nothing to twice that. */
export const ANSWERED_APART = '/apart'
export const APART_MS = 5
