/** Strict enough to find an attribute, a tag or a character that breaks a document. */

/** The names of the elements, in order. @throws Error where `text` is not well-formed */
export function elementsOf(text: string): readonly string[] {
  const names: string[] = []
  const open: string[] = []
  const tag = /<(\/?)([a-z]+)((?:\s+[A-Za-z][\w:-]*="[^"<]*")*)\s*(\/?)>|([^<]+)|(<)/gy
  for (let at = 0; at < text.length; at = tag.lastIndex) {
    tag.lastIndex = at
    const [whole = '', end, name, attributes = '', empty, content = '', stray] = tag.exec(text) ?? []
    if (whole === '' || stray !== undefined) throw new Error(`unexpected: ${text.slice(at, at + 60)}`)
    if (/&(?!(?:amp|lt|gt|quot);)/.test(attributes + content)) throw new Error(`a bare & in: ${whole}`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: XML 1.0 forbids them.
    if (/[\u0000-\u0008\u000b-\u001f\ufffe\uffff]/.test(whole)) throw new Error('a forbidden character')
    if (name === undefined) {
      if (open.length === 0 && content.trim() !== '') throw new Error(`text outside of the root: ${content}`)
      continue
    }
    const keys = [...attributes.matchAll(/\s([\w:-]+)=/g)].map(([, key]) => key)
    if (new Set(keys).size < keys.length) throw new Error(`an attribute is given twice: ${whole}`)
    if (end === '/') {
      if (open.pop() !== name) throw new Error(`</${name}> closes another element`)
      continue
    }
    if (open.length === 0 && names.length > 0) throw new Error('two roots')
    names.push(name)
    if (empty !== '/') open.push(name)
  }
  if (open.length > 0) throw new Error(`<${open.at(-1)}> is open`)
  return names
}
