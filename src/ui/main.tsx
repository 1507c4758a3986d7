/** Draws the page. */
import { render } from 'preact'
import './style.css'
import { App } from './app.tsx'
import { forgetToken } from './place.ts'

// Before anybody has logged in, too.
forgetToken()
render(<App />, document.getElementById('page')!)
