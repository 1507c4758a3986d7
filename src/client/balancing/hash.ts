/** The hash of keys and endpoints, which stands in `core`. */
export { hashText, mix } from '../../core/hash.ts'
