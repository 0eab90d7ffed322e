import type { PeriodUnit } from '../../src/store/periods.ts'

/** What Temporal, which Node has from 26 on, says of an instant. */
export function labelOf(at: number, unit: PeriodUnit, zone: string): string {
  const local = Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(zone)
  const date = local.toPlainDate().toString()
  if (unit === 'week') {
    return local
      .toPlainDate()
      .subtract({ days: local.dayOfWeek - 1 })
      .toString()
  }
  if (unit === 'month') return date.slice(0, 7)
  if (unit === 'day') return date
  return `${date}T${String(local.hour).padStart(2, '0')}${local.offset.slice(0, 6)}`
}
