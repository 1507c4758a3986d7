// Draws the pictures of a page. The library is loaded only where there are some.
const pictures = document.querySelectorAll('pre > code.mermaid')
if (pictures.length > 0) {
  const dark = matchMedia('(prefers-color-scheme: dark)').matches
  const theme = document.documentElement.dataset.theme
  const script = document.createElement('script')
  script.src = new URL('mermaid.js', document.querySelector('script[src*="main.js"]').src)
  script.onload = async () => {
    for (const code of pictures) {
      const picture = document.createElement('div')
      picture.className = 'picture'
      picture.textContent = code.textContent
      code.parentElement.replaceWith(picture)
    }
    const isDark = theme === 'dark' || (theme !== 'light' && dark)
    mermaid.initialize({ startOnLoad: false, theme: isDark ? 'dark' : 'neutral' })
    await mermaid.run({ querySelector: '.picture' })
  }
  document.head.append(script)
}
