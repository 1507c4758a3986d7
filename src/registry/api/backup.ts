/**
 * `POST /v1/backup` with `format: 1`: the whole state at one revision, as JSON lines, for
 * `inmesh backup`.
 */
import type { ServerResponse } from 'node:http'
import type { Clock } from '../../core/clock.ts'
import { fields } from '../../options/fields.ts'
import { integer } from '../../options/quantities.ts'
import type { ApiContext, ApiRequest } from './context.ts'
import { checkBody } from './handling.ts'
import { beginStream, type OutgoingResponse, readJson } from './request.ts'

/** Of the lines, not of the file. */
const BODY = fields({ format: integer({ min: 1, max: 1 }) })
/** A reader that takes nothing for so long is gone. */
const STALL_MS = 30_000

export async function sendBackup(context: ApiContext, { request, response, caller }: ApiRequest): Promise<void> {
  const { exports, authority, audit, clock } = context
  checkBody(BODY, await readJson(request, clock), 'backup')
  let begun = false
  try {
    await exports.run(authority.trustDomain, (lines) => {
      if (!begun) {
        begun = true
        // When it begins: also who breaks it off has read the keys.
        audit.record({ who: caller.name, source: caller.source, action: 'backup', outcome: 'done' })
        beginStream(response, 'application/x-ndjson')
      }
      return written(response, lines, clock)
    })
    if (!response.destroyed) (response as ServerResponse).end()
  } catch (error) {
    // The reader misses the last line.
    if (begun) response.destroy()
    throw error
  }
}

/** False: the reader is gone. */
async function written(response: OutgoingResponse, part: string, clock: Clock): Promise<boolean> {
  if (response.destroyed || response.writableEnded) return false
  if ((response as ServerResponse).write(part)) return true
  return await new Promise((resolve) => {
    const finish = (isOpen: boolean): void => {
      clock.stopTimer(timer)
      response.off('drain', onDrain).off('close', onClose)
      if (!isOpen) response.destroy()
      resolve(isOpen)
    }
    const onDrain = (): void => finish(true)
    const onClose = (): void => finish(false)
    const timer = clock.startBackgroundTimer(STALL_MS, onClose, undefined)
    response.once('drain', onDrain).once('close', onClose)
  })
}
