/** Tollgate's own vocabulary: the contract between endpoints, providers and everything between. */
export type * from './chat.ts'
export type * from './embeddings.ts'
export type * from './json.ts'
export type * from './key.ts'
export type * from './ledger.ts'
export type * from './provider.ts'
export * from './usage.ts'
