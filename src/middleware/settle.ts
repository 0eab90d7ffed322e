import type { GatewayState } from '../state.ts'

/** Settles the request, and notes how long the ledger took. @param tick ms of a clock that never jumps */
export async function settle(state: GatewayState, tick: () => number): Promise<void> {
  const started = tick()
  try {
    await state.account.settle()
  } finally {
    state.record.settleMs = (state.record.settleMs ?? 0) + tick() - started
  }
}
