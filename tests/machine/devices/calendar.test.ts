import { describe, expect, it } from 'vitest';
import { addSeconds, calendarTime } from '../../../src/machine/devices/calendar.ts';

/** The same from the host's own calendar. */
function expected(seconds: number) {
  const date = new Date(seconds * 1000);
  return {
    year: date.getUTCFullYear(),
    month: date.getUTCMonth() + 1,
    day: date.getUTCDate(),
    weekday: date.getUTCDay(),
    hour: date.getUTCHours(),
    minute: date.getUTCMinutes(),
    second: date.getUTCSeconds(),
  };
}

describe('calendar', () => {
  it("agrees with the host's on every day of 500 years", () => {
    const wrong: number[] = [];
    for (let day = -36_525; day < 146_100; day++) {
      const seconds = day * 86_400 + ((day * 7919) % 86_400);
      const { year, month, day: date, weekday, hour, minute, second } = calendarTime(seconds);
      const host = new Date(seconds * 1000);
      const agrees =
        Date.UTC(year, month - 1, date, hour, minute, second) === seconds * 1000 &&
        month === host.getUTCMonth() + 1 &&
        weekday === host.getUTCDay() &&
        hour === host.getUTCHours() &&
        minute === host.getUTCMinutes();
      if (!agrees) wrong.push(seconds);
    }
    expect(wrong).toEqual([]);
  });

  it('adds seconds across any boundary', () => {
    for (const start of [0, 951_782_399, 1_626_048_000, 4_107_542_399]) {
      for (const add of [0, 1, 59, 86_399, 86_400, 31_536_000, 1_000_000_007]) {
        expect(addSeconds(calendarTime(start), add)).toEqual(expected(start + add));
      }
    }
  });

  it('carries fields that are out of range and keeps a weekday that software made up', () => {
    const odd = { year: 2021, month: 2, day: 30, weekday: 3, hour: 23, minute: 59, second: 61 };
    expect(addSeconds(odd, 0)).toEqual({
      year: 2021,
      month: 3,
      day: 3,
      weekday: 4,
      hour: 0,
      minute: 0,
      second: 1,
    });
  });
});
