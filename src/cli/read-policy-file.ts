/** Reads a file of policy documents. The parser of YAML is loaded with the first. */
import { createReadStream } from 'node:fs'
import { EXIT, Failure } from './failure.ts'
import type { PolicyFile } from './policy-file.ts'
import { LARGEST_FILE_BYTES, tooLarge } from './policy-file-failures.ts'
import type { CliContext } from './terminal.ts'

/**
 * `-` is standard input. @throws Failure if it cannot be read, is too large, or has any mistake.
 */
export async function readPolicyFile(name: string, stdin: CliContext['stdin']): Promise<PolicyFile> {
  if (name === '-') return await parse(await collect(stdin, '<stdin>'), '<stdin>')
  let bytes: Buffer
  try {
    bytes = await collect(createReadStream(name), name)
  } catch (error) {
    if (error instanceof Failure) throw error
    const { code, message } = error as NodeJS.ErrnoException
    const why = code === 'EISDIR' ? 'it is a directory' : message
    throw new Failure(EXIT.invalid, 'unreadable-file', `cannot read ${name}: ${why}`)
  }
  return await parse(bytes, name)
}

async function parse(bytes: Uint8Array, file: string): Promise<PolicyFile> {
  const { parsePolicyFile } = await import('./policy-file.ts')
  return parsePolicyFile(decode(bytes, file), file)
}

async function collect(source: AsyncIterable<Uint8Array | string>, file: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of source) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk
    size += bytes.length
    if (size > LARGEST_FILE_BYTES) throw tooLarge(file)
    chunks.push(bytes)
  }
  return Buffer.concat(chunks)
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Failure(EXIT.invalid, 'unreadable-file', `${file} is not UTF-8 text`)
  }
}
