/**
 * A trie of path segments whose nodes hold rules. Its nodes are found by the hash of a segment,
 * computed in place, so that a search allocates nothing.
 */
import type { SegmentPattern } from './path-pattern.ts'
import type { Rule } from './rule.ts'
import { RuleList } from './rule-list.ts'

export class PathNode {
  readonly segment: string
  /** Another child of the same parent whose segment has the same hash. */
  sibling: PathNode | undefined = undefined
  children: Map<number, PathNode> | undefined = undefined
  /** For any segment. */
  any: PathNode | undefined = undefined
  /** Rules of paths that end here, of paths that go on, and of both. */
  exact: RuleList | undefined = undefined
  rest: RuleList | undefined = undefined
  prefix: RuleList | undefined = undefined
  /** The lowest order of all rules from here on. */
  first = Number.POSITIVE_INFINITY

  constructor(segment: string) {
    this.segment = segment
  }

  /** The child for the segment of `path` from `start` to `end`, whose hash is `hash`. */
  child(hash: number, path: string, start: number, end: number): PathNode | undefined {
    let child = this.children?.get(hash)
    while (child !== undefined) {
      if (child.segment.length === end - start && path.startsWith(child.segment, start)) return child
      child = child.sibling
    }
    return undefined
  }
}

export class PathIndex {
  readonly root = new PathNode('')
  /** Segments of the longest pattern. */
  depth = 0
  readonly #lists: RuleList[] = []

  /** Rules are added in their order. */
  add({ segments, end }: Pick<SegmentPattern, 'segments' | 'end'>, rule: Rule): void {
    let node = this.root
    node.first = Math.min(node.first, rule.order)
    for (const segment of segments) {
      node = segment === undefined ? anyFor(node) : childFor(node, segment)
      node.first = Math.min(node.first, rule.order)
    }
    let list = node[end]
    if (list === undefined) {
      list = new RuleList()
      node[end] = list
      this.#lists.push(list)
    }
    list.add(rule)
    this.depth = Math.max(this.depth, segments.length)
  }

  finish(): void {
    for (const list of this.#lists) list.finish()
  }
}

function anyFor(node: PathNode): PathNode {
  node.any ??= new PathNode('')
  return node.any
}

function childFor(node: PathNode, segment: string): PathNode {
  const hash = hashOf(segment)
  const found = node.child(hash, segment, 0, segment.length)
  if (found !== undefined) return found
  const child = new PathNode(segment)
  node.children ??= new Map()
  child.sibling = node.children.get(hash)
  node.children.set(hash, child)
  return child
}

/** FNV-1a's offset basis and prime (32 bits). */
export const HASH_BEGIN = 0x811c9dc5 | 0
const PRIME = 0x01000193

export function hashNext(hash: number, code: number): number {
  return Math.imul(hash ^ code, PRIME)
}

/** Within 30 bits: a key of a map that is not allocated. */
export function hashEnd(hash: number): number {
  return (hash ^ (hash >>> 15)) & 0x3fffffff
}

function hashOf(segment: string): number {
  let hash = HASH_BEGIN
  for (let i = 0; i < segment.length; i++) hash = hashNext(hash, segment.charCodeAt(i))
  return hashEnd(hash)
}
