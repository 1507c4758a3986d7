/**
 * `inmesh/bundled`: what inmesh otherwise loads on demand and a bundler would leave out. Import it
 * first in a bundle.
 */
import * as re2js from 're2js'
import { handInPackage } from '../options/optional-peer.ts'

handInPackage('re2js', re2js, '')
