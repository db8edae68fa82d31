/** The Gregorian calendar, without a host's idea of time. */

export interface CalendarTime {
  /** Four digits. */
  readonly year: number;
  /** 1..12 */
  readonly month: number;
  /** 1..31 */
  readonly day: number;
  /** 0 is Sunday. */
  readonly weekday: number;
  readonly hour: number;
  readonly minute: number;
  readonly second: number;
}

export const SECONDS_PER_DAY = 86_400;
const DAYS_PER_400_YEARS = 146_097;
/** Days from 0000-03-01, where the count below begins, to 1970-01-01, a Thursday. */
const DAYS_TO_1970 = 719_468;

/** The UTC time of a count of seconds since 1970-01-01 00:00:00. */
export function calendarTime(secondsSince1970: number): CalendarTime {
  const days = Math.floor(secondsSince1970 / SECONDS_PER_DAY);
  return {
    ...dateOf(days),
    weekday: (((days + 4) % 7) + 7) % 7,
    ...timeOf(secondsSince1970 - days * SECONDS_PER_DAY),
  };
}

/**
 * Moves a time forward. Fields out of range, which a clock chip may hold, carry over; the day of the week only counts
 * on, as in the chip, where software may have set it to anything.
 */
export function addSeconds(time: CalendarTime, seconds: number): CalendarTime {
  const sum = time.hour * 3600 + time.minute * 60 + time.second + seconds;
  const carried = Math.floor(sum / SECONDS_PER_DAY);
  return {
    ...dateOf(daysSince1970(time) + carried),
    weekday: (time.weekday + carried) % 7,
    ...timeOf(sum - carried * SECONDS_PER_DAY),
  };
}

/** Days, counted in years that begin in March, so that the leap day comes last. */
function daysSince1970({ year, month, day }: CalendarTime): number {
  const shifted = (Math.min(Math.max(month, 1), 12) + 9) % 12;
  const marchYear = shifted >= 10 ? year - 1 : year;
  const leapDays = Math.floor(marchYear / 4) - Math.floor(marchYear / 100) + Math.floor(marchYear / 400);
  return marchYear * 365 + leapDays + daysBeforeMonth(shifted) + day - 1 - DAYS_TO_1970;
}

function dateOf(daysSince1970: number): Pick<CalendarTime, 'year' | 'month' | 'day'> {
  const days = daysSince1970 + DAYS_TO_1970;
  const era = Math.floor(days / DAYS_PER_400_YEARS);
  const dayOfEra = days - era * DAYS_PER_400_YEARS;
  const yearOfEra = Math.floor(
    (dayOfEra -
      Math.floor(dayOfEra / 1460) +
      Math.floor(dayOfEra / 36_524) -
      Math.floor(dayOfEra / 146_096)) /
      365,
  );
  const dayOfYear = dayOfEra - (yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const shifted = Math.floor((dayOfYear * 5 + 2) / 153);
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  return {
    year: era * 400 + yearOfEra + (month <= 2 ? 1 : 0),
    month,
    day: dayOfYear - daysBeforeMonth(shifted) + 1,
  };
}

/** Days of a year from March before month `shifted` (0 is March): 31 30 31 30 31, again and again. */
const daysBeforeMonth = (shifted: number): number => Math.floor((153 * shifted + 2) / 5);

const timeOf = (second: number): Pick<CalendarTime, 'hour' | 'minute' | 'second'> => ({
  hour: Math.floor(second / 3600),
  minute: Math.floor(second / 60) % 60,
  second: second % 60,
});
