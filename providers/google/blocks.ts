import type { ChatEvent, Source } from '#protocol'
import { addPartialArgs, emptyArgs } from './partial-args.ts'
import { markReasoning } from './signatures.ts'
import { type FunctionCall, isObject } from './wire.ts'

/** Numbers that run through the whole answer, across candidates. */
export interface Counters {
  block: number
  call: number
}

/** Writes the blocks of one candidate, one open at a time. */
export interface BlockWriter {
  /** The open block's text so far; absent when no text block is open. */
  readonly text: string | undefined
  addText(text: string, signature: string | undefined, events: ChatEvent[]): void
  addThought(text: string, signature: string | undefined, events: ChatEvent[]): void
  addMedia(source: Source, events: ChatEvent[]): void
  openCall(call: NewCall, events: ChatEvent[]): void
  /** Adds to the open call, and closes it unless more of it follows. */
  continueCall(piece: FunctionCall, events: ChatEvent[]): void
  /** Adds to the open text block. */
  cite(citation: Extract<ChatEvent, { type: 'citation' }>['citation'], events: ChatEvent[]): void
  close(events: ChatEvent[]): void
}

export interface NewCall {
  /** `answer`: the call stands for text. `withheld`: it is not handed on. */
  readonly kind: 'function' | 'custom' | 'answer' | 'withheld'
  readonly id: string
  readonly name: string
  readonly signature: string | undefined
}

type OpenBlock =
  | { readonly type: 'text'; readonly block: number; text: string; readonly signature?: string }
  | { readonly type: 'reasoning'; readonly block: number }
  | {
      readonly type: 'call'
      readonly block: number
      readonly call: NewCall
      readonly args: Record<string, unknown>
    }

export function blockWriter(choice: number, counters: Counters): BlockWriter {
  let open: OpenBlock | undefined
  /** Of an empty text part: a block of its own, written once the text before it is closed. */
  let trailing: string | undefined

  const close = (events: ChatEvent[]) => {
    if (open !== undefined) closeBlock(open, events)
    open = undefined
    if (trailing === undefined) return
    const block = counters.block++
    events.push({ type: 'text-start', choice, block })
    events.push({ type: 'block-end', block, signature: trailing })
    trailing = undefined
  }

  return {
    get text() {
      return open?.type === 'text' ? open.text : undefined
    },

    addText(text, signature, events) {
      if (text === '') {
        if (signature === undefined) return
        if (open?.type !== 'text' || trailing !== undefined) close(events)
        trailing = signature
        return
      }
      const growing = open?.type === 'text' && open.signature === undefined ? open : undefined
      if (growing !== undefined && signature === undefined && trailing === undefined) {
        growing.text += text
        events.push({ type: 'text-delta', block: growing.block, text })
        return
      }
      // Google wants a signed part back as it was, so it is never joined to another.
      close(events)
      const block = counters.block++
      open = { type: 'text', block, text, ...(signature !== undefined && { signature }) }
      events.push({ type: 'text-start', choice, block })
      events.push({ type: 'text-delta', block, text })
    },

    addThought(text, signature, events) {
      if (text === '' && signature === undefined) return
      if (open?.type !== 'reasoning') {
        close(events)
        open = { type: 'reasoning', block: counters.block++ }
        events.push({ type: 'reasoning-start', choice, block: open.block })
      }
      const { block } = open
      if (text !== '') events.push({ type: 'reasoning-delta', block, text })
      if (signature === undefined) return
      events.push({ type: 'block-end', block, signature: markReasoning(signature) })
      open = undefined
    },

    addMedia(source, events) {
      close(events)
      events.push({ type: 'media', choice, block: counters.block++, source })
    },

    openCall(call, events) {
      close(events)
      const block = call.kind === 'withheld' ? -1 : counters.block++
      open = { type: 'call', block, call, args: emptyArgs() }
      if (call.kind === 'withheld') return
      events.push(
        call.kind === 'answer'
          ? { type: 'text-start', choice, block }
          : {
              type: 'tool-call-start',
              choice,
              block,
              callId: call.id,
              name: call.name,
              ...(call.kind === 'custom' && { custom: true }),
            },
      )
    },

    continueCall(piece, events) {
      // The empty call that ends streamed arguments may come after its call is closed.
      if (open?.type !== 'call') return
      if (isObject(piece.args)) Object.assign(open.args, piece.args)
      addPartialArgs(open.args, piece.partialArgs)
      if (piece.willContinue !== true) close(events)
    },

    cite(citation, events) {
      if (open?.type === 'text') events.push({ type: 'citation', block: open.block, citation })
    },

    close,
  }
}

function closeBlock(open: OpenBlock, events: ChatEvent[]): void {
  const { block } = open
  switch (open.type) {
    case 'reasoning':
      events.push({ type: 'block-end', block })
      return
    case 'text': {
      const { signature } = open
      events.push({ type: 'block-end', block, ...(signature !== undefined && { signature }) })
      return
    }
    case 'call': {
      const { kind, signature } = open.call
      const json = JSON.stringify(open.args)
      if (kind === 'withheld') return
      if (kind === 'answer') {
        events.push({ type: 'text-delta', block, text: json }, { type: 'block-end', block })
        return
      }
      const { input } = open.args
      const text = kind === 'custom' && typeof input === 'string' ? input : json
      events.push({ type: 'tool-call-delta', block, text })
      events.push({ type: 'block-end', block, ...(signature !== undefined && { signature }) })
    }
  }
}
