// Exact money: decimal text to minor units and back. Integers only, no floats: 0.1 + 0.2 never happens here.

const MINOR_MAX = 10n ** 15n - 1n; // AMOUNT_MINOR_MAX of core/limits.py
const PLAIN = /^([+-]?)([0-9]+)(?:\.([0-9]{1,2})0*)?$/;
const GROUPED = /^[+-]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?$/;

/** Full-width digits, signs and spaces as they are typed with a Chinese keyboard, made narrow; spaces removed. */
export function narrow(text) {
  return text.normalize('NFKC').replace(/[\u2212\u2013]/g, '-').replace(/\u3002/g, '.').replace(/\s/g, '');
}

/**
 * Minor units of a decimal text, as a string of an integer: "1,130.5" is "113050". Null when it is no amount: more than
 * two decimals that are not zero, commas out of place, or more than any invoice may have.
 */
export function minorUnits(text) {
  const found = narrow(text).replace(/^([+-]?)[¥$€]?([+-]?)/, '$1$2').replace(/元$/, '');
  const digits = GROUPED.test(found) ? found.replaceAll(',', '') : found;
  const parts = PLAIN.exec(digits);
  if (!parts || parts[2].length > 32) return null;
  const minor = BigInt(parts[2]) * 100n + BigInt((parts[3] ?? '').padEnd(2, '0'));
  if (minor > MINOR_MAX) return null;
  return (parts[1] === '-' ? -minor : minor).toString();
}

/** The text of an amount in minor units: "-50000" is "-500.00", with `grouped` "1,130.00" for people. */
export function minorText(minor, { grouped = false } = {}) {
  const value = BigInt(minor);
  const size = value < 0n ? -value : value;
  const whole = (size / 100n).toString();
  const shown = grouped ? whole.replace(/\B(?=(?:[0-9]{3})+$)/g, ',') : whole;
  return `${value < 0n ? '-' : ''}${shown}.${(size % 100n).toString().padStart(2, '0')}`;
}
