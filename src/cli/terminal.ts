/** The world a command runs in. */
export interface Terminal {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly stdin: NodeJS.ReadableStream & { readonly isTTY?: boolean }
  readonly stdout: Screen
  readonly stderr: Screen
  /** Unix ms. */
  readonly now: () => number
  /** From here on Ctrl-C ends the run at once, with this exit code. */
  exitOnInterrupt(code: number): void
}

export interface Screen {
  /** Whether a person sees it; a pipe or a file otherwise. */
  readonly isTTY?: boolean
  write(text: string): unknown
}

/** Names and messages come from afar: what would steer a terminal becomes visible instead. */
export function plain(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what it is for
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, '\uFFFD')
}
