/** A strict parser of the Prometheus text format 0.0.4, for tests: anything unknown is an error. */

export interface ParsedFamily {
  readonly help: string
  readonly kind: string
  readonly samples: Map<
    string,
    { readonly name: string; readonly labels: Record<string, string>; readonly value: number }
  >
}

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (NaN|[+-]Inf|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/s
const LABEL = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\n|\\")*)"(,|$)/

export function parseMetrics(text: string): Map<string, ParsedFamily> {
  if (text !== '' && !text.endsWith('\n')) throw new Error('the last line does not end')
  const families = new Map<string, ParsedFamily>()
  let current: { name: string; family: ParsedFamily } | undefined
  const lines = text.split('\n').slice(0, -1)
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i]!
    const help = /^# HELP (\S+) (.+)$/.exec(line)
    if (help !== null) {
      const kind = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(lines[++i] ?? '')
      if (kind === null || kind[1] !== help[1]) throw new Error(`no TYPE after ${line}`)
      if (families.has(help[1]!)) throw new Error(`${help[1]} comes twice`)
      current = { name: help[1]!, family: { help: help[2]!, kind: kind[2]!, samples: new Map() } }
      families.set(current.name, current.family)
      continue
    }
    const sample = SAMPLE.exec(line)
    if (sample === null || current === undefined) throw new Error(`not a sample: ${line}`)
    const [, name, labels = '', value] = sample
    const suffixes = current.family.kind === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    if (!suffixes.some((suffix) => name === `${current!.name}${suffix}`))
      throw new Error(`${line} is not of ${current.name}`)
    const key = `${name}{${labels}}`
    if (current.family.samples.has(key)) throw new Error(`${key} comes twice`)
    current.family.samples.set(key, { name: name!, labels: parseLabels(labels), value: parseValue(value!) })
  }
  return families
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (let rest = text; rest !== ''; ) {
    const match = LABEL.exec(rest)
    if (match === null || match[1]! in labels) throw new Error(`wrong labels: ${text}`)
    labels[match[1]!] = match[2]!.replaceAll(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c))
    rest = rest.slice(match[0].length)
  }
  return labels
}

function parseValue(text: string): number {
  if (text === '+Inf') return Number.POSITIVE_INFINITY
  if (text === '-Inf') return Number.NEGATIVE_INFINITY
  return Number(text)
}

/** The value of the sample with exactly these labels; `undefined` if there is none. */
export function sampleOf(families: Map<string, ParsedFamily>, name: string, labels: Record<string, string> = {}) {
  const family = families.get(name.replace(/_(bucket|sum|count)$/, '')) ?? families.get(name)
  const wanted = JSON.stringify(Object.entries(labels).sort())
  for (const sample of family?.samples.values() ?? []) {
    if (sample.name === name && JSON.stringify(Object.entries(sample.labels).sort()) === wanted) return sample.value
  }
  return undefined
}
