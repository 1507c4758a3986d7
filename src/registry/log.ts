/**
 * The registry's log: JSON lines on stderr by pino, without secrets. pino loads only for a log.
 */
type Write = (fields: object, message: string) => void

export interface Logger {
  readonly info: Write
  readonly warn: Write
  readonly error: Write
}

const ignore: Write = () => {}
export const SILENT_LOG: Logger = { info: ignore, warn: ignore, error: ignore }

export async function openLog(): Promise<Logger> {
  const { pino } = await import('pino')
  const log = pino(
    {
      name: 'inmesh-registry',
      // A net below the rule that no secret is ever given to the log.
      redact: [
        'token',
        'secret',
        'privateKey',
        'authorization',
        '*.token',
        '*.secret',
        '*.privateKey',
        '*.authorization',
      ],
    },
    pino.destination({ dest: 2, sync: true }),
  )
  return {
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
  }
}
