/** The system's error with what was to listen: Node's has an address, and one of several servers. */
export function cannotListen(what: string, error: Error): Error {
  error.message = `${what} cannot listen: ${error.message}`
  return error
}
