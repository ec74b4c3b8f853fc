// What people read off an invoice: its number, its date, the text of its QR code.

import { minorText, minorUnits, narrow } from './amounts.js';

/** The 20 digits of a number, written with spaces or without; null when it is none. */
export function invoiceNumber(text) {
  const found = narrow(text).replaceAll('-', '');
  return /^[0-9]{20}$/.test(found) ? found : null;
}

/** A date as the integer yyyymmdd: 2026-11-18, 2026/11/18, 2026年11月18日 and 20261118 are the same; null for no date. */
export function issueDate(text) {
  const found = narrow(text);
  const parts =
    /^([0-9]{4})([0-9]{2})([0-9]{2})$/.exec(found) ??
    /^([0-9]{4})[-/.年]([0-9]{1,2})[-/.月]([0-9]{1,2})日?$/.exec(found);
  if (!parts) return null;
  const [year, month, day] = parts.slice(1).map(Number);
  const date = new Date(Date.UTC(year, month - 1, day));
  const real = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  return real && year >= 1000 ? year * 10000 + month * 100 + day : null;
}

/** yyyymmdd as people write it: 20261118 is 2026-11-18. */
export function dateText(date) {
  return String(date).replace(/^([0-9]{4})([0-9]{2})([0-9]{2})$/, '$1-$2-$3');
}

/** A number in groups of five, as it is easiest to compare. */
export function numberText(number) {
  return number.replace(/(.{5})(?=.)/g, '$1 ');
}

/**
 * What the text of a QR code says: {number, date, total, sound}, or null when it is none of an invoice. `sound` tells
 * whether its four check digits fit (core/domain/qr_text.py): they show a misread code, and prove nothing.
 */
export function qrFields(text) {
  const found = text.normalize('NFKC').replace(/\s/g, '');
  const parts = /^(01,3[12],,([0-9]{20}),(-?[0-9.]{1,18}),([0-9]{8}),[^,]{0,32},)([0-9A-Fa-f]{4})$/.exec(found);
  if (!parts) return null;
  const minor = minorUnits(parts[3]);
  const date = issueDate(parts[4]);
  if (minor === null || date === null) return null;
  return {
    number: parts[2],
    date: dateText(date),
    total: minorText(minor),
    sound: checkDigits(parts[1]) === Number.parseInt(parts[5], 16),
  };
}

/** CRC-16 with the polynomial 0x1021 and start 0 of a text of ASCII characters. */
function checkDigits(text) {
  let value = 0;
  for (const byte of new TextEncoder().encode(text)) {
    value ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) value = (value & 0x8000 ? (value << 1) ^ 0x1021 : value << 1) & 0xffff;
  }
  return value;
}
