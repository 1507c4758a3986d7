/**
 * Certificates in PEM (RFC 7468), read strictly: OpenSSL skips what it does not understand, so that
 * two readers may see two different certificates in one text.
 */
const BLOCK = /-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*/y

/**
 * The certificates of `text` in DER, in order. `undefined` unless there is at least one, and only
 * white space between them. Their content is not read.
 */
export function readCertificatePem(text: string): Buffer[] | undefined {
  const found: Buffer[] = []
  let at = text.length - text.trimStart().length
  for (;;) {
    BLOCK.lastIndex = at
    const block = BLOCK.exec(text)
    if (block === null) break
    const der = readBase64(block[1]!)
    if (der === undefined) return undefined
    found.push(der)
    at = BLOCK.lastIndex
  }
  return found.length > 0 && at === text.length ? found : undefined
}

/** Node skips characters that are not base64, and reads on behind padding. */
function readBase64(text: string): Buffer | undefined {
  const compact = text.replace(/\s/g, '')
  const bytes = Buffer.from(compact, 'base64')
  return bytes.length > 0 && bytes.toString('base64') === compact ? bytes : undefined
}
