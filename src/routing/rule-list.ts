/**
 * The rules that share a path, in order. Many that ask for exact values of one header are found by
 * the value.
 */
import type { Rule } from './rule.ts'

/** Fewer rules are as quickly asked one by one. */
const WORTH_A_MAP = 4

interface ByHeader {
  readonly name: string
  readonly rules: ReadonlyMap<string, readonly Rule[]>
}

export class RuleList {
  /** The lowest order; `Infinity`: empty. */
  first = Number.POSITIVE_INFINITY
  plain: Rule[] = []
  byHeader: ByHeader[] = []

  add(rule: Rule): void {
    this.plain.push(rule)
    this.first = Math.min(this.first, rule.order)
  }

  /** After the last rule: rules were added in their order. */
  finish(): void {
    const counts = new Map<string, number>()
    for (const rule of this.plain) {
      const name = keyOf(rule)?.name
      if (name !== undefined) counts.set(name, (counts.get(name) ?? 0) + 1)
    }
    for (const [name, count] of counts) {
      if (count < WORTH_A_MAP) continue
      const rules = new Map<string, Rule[]>()
      for (const rule of this.plain) {
        const key = keyOf(rule)
        if (key?.name !== name) continue
        const alike = rules.get(key.value)
        if (alike === undefined) rules.set(key.value, [rule])
        else alike.push(rule)
      }
      this.plain = this.plain.filter((rule) => keyOf(rule)?.name !== name)
      this.byHeader.push({ name, rules })
    }
  }
}

/** The first header whose exact value a rule asks for. */
function keyOf(rule: Rule): { readonly name: string; readonly value: string } | undefined {
  for (const { name, value } of rule.headers) if (value !== undefined) return { name, value }
  return undefined
}
