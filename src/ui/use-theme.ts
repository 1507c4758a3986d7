/** Whether the system asks for a dark page: for what is drawn without the style sheet. */
import { useEffect, useState } from 'preact/hooks'

export function useTheme(): 'dark' | 'light' {
  const [isDark, setDark] = useState(() => query().matches)
  useEffect(() => {
    const asked = query()
    const follow = (): void => setDark(asked.matches)
    asked.addEventListener('change', follow)
    return () => asked.removeEventListener('change', follow)
  }, [])
  return isDark ? 'dark' : 'light'
}

function query(): MediaQueryList {
  return matchMedia('(prefers-color-scheme: dark)')
}
