/** Each of what a script on a page tries: `refused`, or what came of it. */
export const BREAK_IN = `(async () => {
  const tried = async (what) => { try { return String(await what()) } catch { return 'refused' } }
  const loaded = (element) => new Promise((resolve, reject) => {
    element.onload = () => resolve('loaded')
    element.onerror = () => reject(new Error())
    document.body.append(element)
    setTimeout(() => reject(new Error()), 3000)
  })
  const script = (set) => () => { const one = document.createElement('script'); set(one); return loaded(one) }
  const inline = () => {
    const one = document.createElement('script')
    one.append('window.brokenIn = 1')
    document.body.append(one)
    if (window.brokenIn === undefined) throw new Error()
  }
  const framed = () => {
    const frame = document.createElement('iframe')
    frame.src = '/ui/'
    document.body.append(frame)
    return new Promise((resolve, reject) => setTimeout(() => {
      try { frame.contentDocument.body.innerText === '' ? reject(new Error()) : resolve('shown') } catch (error) { reject(error) }
    }, 1500))
  }
  const base = () => {
    const one = document.createElement('base')
    one.href = 'http://127.0.0.1:9/'
    document.head.append(one)
    if (!document.baseURI.includes(':9/')) throw new Error()
  }
  const form = () => {
    const one = document.createElement('form')
    one.action = 'http://127.0.0.1:9/'
    document.body.append(one)
    const refusal = new Promise((_, reject) => addEventListener('securitypolicyviolation', reject, { once: true }))
    one.submit()
    return refusal
  }
  const picture = () => { const one = document.createElement('img'); one.src = 'http://127.0.0.1:9/x'; return loaded(one) }
  return {
    markup: await tried(() => { document.body.innerHTML = '<b>x</b>' }),
    inline: await tried(inline),
    data: await tried(script((one) => { one.src = 'data:text/javascript,0' })),
    handler: await tried(() => document.body.setAttribute('onclick', 'window.brokenIn = 2')),
    blob: await tried(script((one) => { one.src = URL.createObjectURL(new Blob(['0'])) })),
    elsewhere: await tried(() => fetch('http://127.0.0.1:9/')),
    picture: await tried(picture),
    frame: await tried(framed),
    base: await tried(base),
    form: await tried(form),
    worker: await tried(() => new Worker('data:text/javascript,0')),
    serviceWorker: await tried(() => navigator.serviceWorker.register(document.querySelector('script').src)),
    tokens: await tried(async () => (await fetch('/ui/api/v1/tokens', { method: 'POST', body: '{}', headers: { 'x-inmesh-ui': '1' } })).status),
    opened: await tried(() => { if (window.opener === null) throw new Error() }),
  }
})()`
