#!/usr/bin/env node
// Plain JavaScript that every Node can read, so that an old one gets a sentence and no stack trace.
const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 11)) {
  process.stderr.write(
    `tollgate needs Node 24.11 or newer; this is ${process.version}. In a checkout, run it through npm: npm start\n`,
  )
  process.exit(1)
}
const { enableCompileCache } = await import('node:module')
enableCompileCache()
const { existsSync } = await import('node:fs')
const source = new URL('./main.ts', import.meta.url)
await import(
  existsSync(source) ? source.href : new URL('../dist/src/main.js', import.meta.url).href
)
