/** `inmesh call http://…`: one call by the real client, and its answer. */
import type { HttpResponse } from '../../client/http/response.ts'
import { ByteOutput } from '../byte-output.ts'
import { parseExactly } from '../exact-json.ts'
import { invalidUsage } from '../failure.ts'
import type { ServiceUrl } from '../service-url.ts'
import { printable } from '../terminal.ts'
import { AbsentService } from './absent-service.ts'
import { type Calling, callFailure, errorStatus, LARGEST_BODY, readData } from './call-flags.ts'
import { CallResult } from './call-result.ts'

/** A longer answer is printed as it comes. */
const MOST_PRETTY = 4 * 1024 * 1024

/** @throws Failure with exit code 4 for an error status, 5 if there is no answer */
export async function callHttp(calling: Calling, { service, path }: ServiceUrl): Promise<void> {
  const { developer, flags, stdin, signal } = calling
  if (flags.proto !== undefined || flags.importPath !== undefined) {
    throw invalidUsage('--proto and --import-path are for grpc:// URLs')
  }
  const body = flags.data === undefined ? undefined : await readData(flags.data, stdin)
  const method = flags.request ?? (body === undefined ? 'GET' : 'POST')
  const absent = new AbsentService(developer, service)
  const result = new CallResult(calling, { service, method, path, as: developer.service })
  let response: HttpResponse
  try {
    response = await developer.mesh.http(service).request(method, path, {
      headers: { ...contentTypeOf(body), ...flags.header },
      ...(body !== undefined && { body }),
      ...(flags.timeout !== undefined && { timeout: flags.timeout }),
      ...(flags.stream === true && { streaming: true }),
      signal,
    })
    result.hasHead()
    if (developer.terminal.json) result.succeeded(await answerOf(response, result))
    else await printAnswer(calling, response)
  } catch (error) {
    throw result.failed(callFailure(error, calling, await absent.why()))
  }
  if (response.status < 400) return
  const what = `'${service}' answered ${response.status} ${printable(response.statusText)}`.trimEnd()
  const asked = `${method} http://${service}${path} --from ${developer.service}`
  throw errorStatus(what, calling.seen.call?.code, response.status === 403, asked)
}

/** JSON is what services take; a body that is none has no type unless `-H` gives one. */
function contentTypeOf(body: Buffer | undefined): Record<string, string> {
  if (body === undefined || body.length === 0) return {}
  return parseExactly(body.toString()) === undefined ? {} : { 'content-type': 'application/json' }
}

async function printAnswer({ developer, flags, signal }: Calling, response: HttpResponse): Promise<void> {
  const { stdout } = developer.terminal
  const output = new ByteOutput(stdout)
  if (flags.include === true) stdout.write(headOf(response))
  let kept: Uint8Array[] | undefined = output.isTerminal && isJson(response) ? [] : undefined
  let size = 0
  for await (const chunk of response.body) {
    if (signal.aborted) break
    size += chunk.length
    kept?.push(chunk)
    if (kept === undefined) await output.write(chunk, signal)
    else if (size > MOST_PRETTY) {
      for (const one of kept) await output.write(one, signal)
      kept = undefined
    }
  }
  if (kept !== undefined) await output.write(pretty(Buffer.concat(kept)), signal)
  await output.end(signal)
}

function headOf({ status, statusText, headers }: HttpResponse): string {
  const lines = [`${status} ${statusText}`.trimEnd(), ...[...headers].map(([name, value]) => `${name}: ${value}`)]
  return `${lines.map(printable).join('\n')}\n\n`
}

function isJson({ headers }: HttpResponse): boolean {
  return /^application\/(?:[\w.+-]+\+)?json\b/i.test(headers.get('content-type') ?? '')
}

/** As indented JSON, if it is JSON. */
function pretty(bytes: Buffer): Buffer {
  const found = parseExactly(bytes.toString())
  return found === undefined ? bytes : Buffer.from(`${JSON.stringify(found.value, null, 2)}\n`)
}

async function answerOf(response: HttpResponse, result: CallResult): Promise<object> {
  const parts: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body) {
    size += chunk.length
    if (size > LARGEST_BODY) throw result.tooLarge()
    parts.push(chunk)
  }
  const { status, statusText, headers } = response
  return { status, statusText, headers: named(headers), ...bodyOf(Buffer.concat(parts), isJson(response)) }
}

/** Several of one name are a list. */
function named(headers: HttpResponse['headers']): Record<string, string | readonly string[]> {
  const names = new Set([...headers].map(([name]) => name))
  return Object.fromEntries(
    [...names].map((name) => {
      const all = headers.getAll(name)
      return [name, all.length === 1 ? all[0]! : all]
    }),
  )
}

/** JSON as a value, other text as text, other bytes as base64. */
function bodyOf(bytes: Buffer, json: boolean): object {
  if (bytes.length === 0) return { body: null }
  const found = json ? parseExactly(bytes.toString()) : undefined
  if (found !== undefined) return { body: found.value }
  const text = bytes.toString()
  if (Buffer.from(text).equals(bytes)) return { body: text }
  return { body: bytes.toString('base64'), bodyEncoding: 'base64' }
}
