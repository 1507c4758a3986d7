/** What `inmesh simulate` loads, when it is asked for. */
export { notSimulated } from './not-simulated.ts'
export { picture } from './picture.ts'
export { reachedServices } from './reached-services.ts'
export { simulate } from './simulate.ts'
