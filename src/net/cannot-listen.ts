/** The system's error with what was to listen: Node says the address only. */
export function cannotListen(what: string, error: Error): Error {
  error.message = `${what} cannot listen: ${error.message}`
  return error
}
