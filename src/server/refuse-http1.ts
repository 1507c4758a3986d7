/**
 * The answer to a refused client of HTTP/1.1, on a port of any protocol. It waits for the method,
 * because an answer to HEAD has no body.
 */
import { NOT_EXECUTED } from '../core/headers.ts'
import { identityRefusal } from '../net/identity-refusal.ts'
import type { RefusalAnswer } from './lingering-close.ts'
import type { Stranger } from './stranger.ts'

const METHOD = /^([A-Za-z]{1,32}) /
/** Enough for {@link METHOD}. */
const LONGEST_METHOD = 33

export function refuseHttp1({ reason, notice }: Stranger): RefusalAnswer {
  const ofTheBytes = reason === 'plaintext' || reason === 'protocol-error'
  let begin = ''
  return {
    mayFollow: (input) => {
      begin += Buffer.from(input.subarray(0, LONGEST_METHOD - begin.length)).toString('latin1')
      return begin.length === LONGEST_METHOD || !/^[A-Za-z]*$/.test(begin)
    },
    last: () => {
      const method = METHOD.exec(begin)?.[1]
      // It speaks something else.
      if (method === undefined && begin !== '') return ''
      const text = method === undefined || method === 'HEAD' ? '' : `${notice}\n`
      return [
        ofTheBytes ? 'HTTP/1.1 400 Bad Request' : 'HTTP/1.1 403 Forbidden',
        'Connection: close',
        `${NOT_EXECUTED}: ${reason === 'protocol-error' ? reason : identityRefusal(reason)}`,
        ...(text === '' ? [] : ['Content-Type: text/plain; charset=utf-8']),
        `Content-Length: ${text.length}`,
        '',
        text,
      ].join('\r\n')
    },
  }
}
