/**
 * Encodes a form as multipart/form-data, as WHATWG fetch does. The result is a Blob of known length
 * that only refers to the files, and can be sent again.
 */
import { randomUUID } from 'node:crypto'

export function encodeForm(form: FormData): { readonly blob: Blob; readonly contentType: string } {
  const boundary = `----inmesh-form-${randomUUID()}`
  const parts: (string | Blob)[] = []
  for (const [name, value] of form) {
    const head = `--${boundary}\r\nContent-Disposition: form-data; name="${quoted(lines(name))}"`
    if (typeof value === 'string') parts.push(`${head}\r\n\r\n${lines(value)}\r\n`)
    else {
      const type = value.type === '' ? 'application/octet-stream' : value.type
      parts.push(`${head}; filename="${quoted(value.name)}"\r\nContent-Type: ${type}\r\n\r\n`, value, '\r\n')
    }
  }
  parts.push(`--${boundary}--\r\n`)
  return { blob: new Blob(parts), contentType: `multipart/form-data; boundary=${boundary}` }
}

/** Every end of a line is CRLF. */
function lines(text: string): string {
  return text.replace(/\r\n?|\n/g, '\r\n')
}

/** HTML, "multipart form data": these three would end the name. */
function quoted(text: string): string {
  return text.replace(/\n/g, '%0A').replace(/\r/g, '%0D').replace(/"/g, '%22')
}
