/** How the MC146818 holds time: the ten time bytes and the century, in BCD or binary, 12 or 24 hours. */
import type { CalendarTime } from './calendar.ts';

// biome-ignore format: table
/** CMOS addresses. */
export const RTC = {
  SECONDS: 0x00, SECONDS_ALARM: 0x01,
  MINUTES: 0x02, MINUTES_ALARM: 0x03,
  HOURS:   0x04, HOURS_ALARM:   0x05,
  WEEKDAY: 0x06, DAY: 0x07, MONTH: 0x08, YEAR: 0x09,
  A: 0x0a, B: 0x0b, C: 0x0c, D: 0x0d,
  /** PC firmware's choice, told to the system by the FADT. */
  CENTURY: 0x32,
} as const;

// biome-ignore format: table
/** Register B. */
export const RTC_B = {
  HOURS_24: 0x02, BINARY: 0x04, SQUARE_WAVE: 0x08,
  UPDATE_IRQ: 0x10, ALARM_IRQ: 0x20, PERIODIC_IRQ: 0x40, SET: 0x80,
} as const;

const PM = 0x80;
/** Alarm bytes with both of these bits match anything (MC146818 data sheet, "Alarm"). */
const ANY = 0xc0;

export function readTime(cmos: Uint8Array): CalendarTime {
  const decode = decoder(cmos[RTC.B]);
  return {
    year: decode(cmos[RTC.CENTURY]) * 100 + decode(cmos[RTC.YEAR]),
    month: decode(cmos[RTC.MONTH]),
    day: decode(cmos[RTC.DAY]),
    weekday: decode(cmos[RTC.WEEKDAY]) - 1,
    hour: decodeHour(cmos[RTC.HOURS], cmos[RTC.B]),
    minute: decode(cmos[RTC.MINUTES]),
    second: decode(cmos[RTC.SECONDS]),
  };
}

export function writeTime(cmos: Uint8Array, time: CalendarTime): void {
  const encode = (value: number): number =>
    cmos[RTC.B] & RTC_B.BINARY ? value : (Math.floor(value / 10) << 4) | (value % 10);
  cmos[RTC.CENTURY] = encode(Math.floor(time.year / 100) % 100);
  cmos[RTC.YEAR] = encode(time.year % 100);
  cmos[RTC.MONTH] = encode(time.month);
  cmos[RTC.DAY] = encode(time.day);
  cmos[RTC.WEEKDAY] = encode(time.weekday + 1);
  cmos[RTC.HOURS] =
    cmos[RTC.B] & RTC_B.HOURS_24
      ? encode(time.hour)
      : encode(((time.hour + 11) % 12) + 1) | (time.hour >= 12 ? PM : 0);
  cmos[RTC.MINUTES] = encode(time.minute);
  cmos[RTC.SECONDS] = encode(time.second);
}

/** Whether the alarm goes off at a second of the day. */
export function alarmMatches(cmos: Uint8Array, secondOfDay: number): boolean {
  const decode = decoder(cmos[RTC.B]);
  const { SECONDS_ALARM, MINUTES_ALARM, HOURS_ALARM } = RTC;
  return (
    (isAny(cmos[SECONDS_ALARM]) || decode(cmos[SECONDS_ALARM]) === secondOfDay % 60) &&
    (isAny(cmos[MINUTES_ALARM]) || decode(cmos[MINUTES_ALARM]) === Math.floor(secondOfDay / 60) % 60) &&
    (isAny(cmos[HOURS_ALARM]) ||
      decodeHour(cmos[HOURS_ALARM], cmos[RTC.B]) === Math.floor(secondOfDay / 3600))
  );
}

const isAny = (byte: number): boolean => (byte & ANY) === ANY;

const decoder =
  (registerB: number) =>
  (byte: number): number =>
    registerB & RTC_B.BINARY ? byte : (byte >> 4) * 10 + (byte & 15);

function decodeHour(byte: number, registerB: number): number {
  const decode = decoder(registerB);
  if (registerB & RTC_B.HOURS_24) return decode(byte);
  return (decode(byte & ~PM) % 12) + (byte & PM ? 12 : 0);
}
