import { readFileSync } from 'node:fs'
import type { Command } from 'commander'
import type { Session } from './session.ts'

/** The version of this package: its `package.json` lies above `src`, and above `dist` when built. */
export function packageVersion(): string {
  for (const place of ['../../package.json', '../../../package.json']) {
    try {
      const text = readFileSync(new URL(place, import.meta.url), 'utf8')
      const found: { readonly name?: string; readonly version?: string } = JSON.parse(text)
      if (found.name === 'tollgate' && found.version !== undefined) return found.version
    } catch {
      // The next place.
    }
  }
  return '0.0.0'
}

export function define(command: Command, session: Session): void {
  command.action(() =>
    session.record(
      {
        version: packageVersion(),
        node: process.version,
        platform: `${process.platform}-${process.arch}`,
      },
      ({ version, node, platform }) => `tollgate ${version} (node ${node}, ${platform})`,
    ),
  )
}
