/** Asks for the token of an operator, which is sent once and kept nowhere. */
import { useState } from 'preact/hooks'
import { logIn, type Session } from './api.ts'

export function Login({ onLogIn }: { onLogIn: (session: Session) => void }) {
  const [trouble, setTrouble] = useState<string>()
  const [isBusy, setBusy] = useState(false)
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    const field = (event.currentTarget as HTMLFormElement).elements.namedItem('token') as HTMLInputElement
    setBusy(true)
    try {
      onLogIn(await logIn(field.value.trim()))
    } catch (error) {
      setTrouble((error as Error).message)
    } finally {
      field.value = ''
      setBusy(false)
    }
  }
  return (
    <main class="login">
      <h1>inmesh</h1>
      <form onSubmit={submit}>
        <label for="token">Operator's token</label>
        <input id="token" name="token" type="password" autocomplete="off" spellcheck={false} required />
        <button type="submit" disabled={isBusy}>
          Log in
        </button>
        <p role="alert">{trouble}</p>
        <p class="hint">
          One that may only look: <code>inmesh token operator create dashboard --read-only</code>
        </p>
      </form>
    </main>
  )
}
