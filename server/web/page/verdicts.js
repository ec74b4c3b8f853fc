// What an answer means to people: {tone, icon, title, text, facts, differences}, in the words it is given. Pure.
//
// A verdict is a function of words, so that it can be told again in the other language. A fact is [label, text, form]:
// form "figures" for what is compared digit by digit, "" for prose.

import { minorText } from './amounts.js';
import { dateText, numberText } from './readings.js';

const CHECKED = {
  VERIFICATION_OUTCOME_MISMATCH: ['bad', 'bad', 'mismatch'],
  VERIFICATION_OUTCOME_NOT_FOUND: ['none', 'none', 'notFound'],
  VERIFICATION_OUTCOME_TOO_MANY_CHECKS: ['look', 'wait', 'tooMany'],
  VERIFICATION_OUTCOME_INVALID: ['look', 'look', 'invalid'],
  VERIFICATION_OUTCOME_TOO_OLD: ['look', 'wait', 'tooOld'],
};
const INSPECTED = {
  INSPECTION_OUTCOME_ALTERED: ['bad', 'bad', 'altered'],
  INSPECTION_OUTCOME_UNKNOWN: ['none', 'none', 'notFound'],
  INSPECTION_OUTCOME_UNRECOGNIZED: ['look', 'look', 'unrecognized'],
  INSPECTION_OUTCOME_UNREADABLE: ['look', 'look', 'unreadable'],
  INSPECTION_OUTCOME_TOO_MANY_CHECKS: ['look', 'wait', 'tooMany'],
  INSPECTION_OUTCOME_TOO_OLD: ['look', 'wait', 'tooOld'],
};
const STATES = {
  INVOICE_STATE_NORMAL: ['good', 'good', 'normal'],
  INVOICE_STATE_PARTLY_RED: ['part', 'part', 'partlyRed'],
  INVOICE_STATE_FULLY_RED: ['void', 'void', 'fullyRed'],
};
const KINDS = { 1: 'kindSPECIAL', 2: 'kindGENERAL' }; // in differences an enum is its number
const COLORS = { 1: 'colorBLUE', 2: 'colorRED' };
const SECONDS_EAST = 8 * 3600; // invoices of the profile cn are dated in China (core/domain/profile.py)

/** Before anything was asked. */
export const empty = ({ say }) => ({ tone: 'empty', icon: 'none', title: say('emptyTitle'), text: say('emptyText'), facts: [] });

/** While an answer is on its way. */
export const checking = ({ say }) => ({ tone: 'empty', icon: 'wait', title: say('checking'), text: '', facts: [] });

/** No answer, and why: a reason of CallError, or emptyFile. It never says anything about the invoice. */
export const failed = (reason) => ({ say }) => ({
  tone: 'look', icon: 'look', title: say(reason), text: say(`${reason}Text`), facts: [],
});

/** The answer to a check of fields: a VerificationResult. */
export const checked = (check, result) => (words) => {
  const { say } = words;
  const known = result.outcome === 'VERIFICATION_OUTCOME_MATCH' ? STATES[result.state] : CHECKED[result.outcome];
  if (!known) return failed('unreachable')(words);
  const [tone, icon, key] = known;
  const facts = [
    [say('number'), numberText(check.number), 'figures'],
    [say('date'), dateText(check.date), 'figures'],
    [say('total'), money(check.totalMinor), 'figures'],
    ...(STATES[result.state] ? stateFacts(words, result, check.totalMinor) : []),
  ];
  return { tone, icon, title: say(key), text: say(`${key}Text`), facts };
};

/** The answer to a check of a file: a VerifyDocumentResponse. */
export const inspected = (fileName, response) => (words) => {
  const [tone, icon, title, text] = fileVerdict(words, response) ?? [];
  if (!tone) return failed('unreachable')(words);
  const { say } = words;
  const invoice = response.documentInvoice;
  const facts = [[say('file'), fileName, '']];
  if (STATES[response.state]) facts.push(...stateFacts(words, response, invoice?.grossTotalMinor ?? '0'));
  const signature = nameOf(response.signature, 'SIGNATURE_RESULT_');
  if (words.has(`signature${signature}`)) facts.push([say('signature'), say(`signature${signature}`), '']);
  const says = invoice ? { title: say('saysTitle'), facts: invoiceFacts(words, invoice) } : undefined;
  return { tone, icon, title, text, facts, says, differences: differences(words, response) };
};

function fileVerdict({ say, has }, response) {
  const state = STATES[response.state];
  if (response.outcome === 'INSPECTION_OUTCOME_GENUINE' && state) {
    const [tone, icon, key] = state;
    return [tone, icon, say(key), say(key === 'normal' ? 'fileNormalText' : `${key}Text`)];
  }
  if (response.outcome === 'INSPECTION_OUTCOME_DATA_GENUINE' && state) {
    const also = state[2] === 'normal' ? '' : ` ${say(`${state[2]}Text`)}`;
    return [state[2] === 'normal' ? 'part' : state[0], 'look', say('dataGenuine'), say('dataGenuineText') + also];
  }
  if (!INSPECTED[response.outcome]) return undefined;
  const [tone, icon, key] = INSPECTED[response.outcome];
  const why = `unreadable${nameOf(response.unreadableReason, 'UNREADABLE_REASON_')}`;
  return [tone, icon, say(key), key === 'unreadable' && has(why) ? say(why) : say(`${key}Text`)];
}

function stateFacts({ say }, { state, redTotalMinor = '0' }, totalMinor) {
  const facts = [[say('state'), say(`state${nameOf(state, 'INVOICE_STATE_')}`), '']];
  if (BigInt(redTotalMinor) !== 0n) {
    facts.push([say('redTotal'), money(redTotalMinor), 'figures']);
    facts.push([say('remainder'), money(BigInt(totalMinor) + BigInt(redTotalMinor)), 'figures']);
  }
  return facts;
}

function invoiceFacts({ say, has }, invoice) {
  const kind = `kind${nameOf(invoice.kind, 'INVOICE_KIND_')}`;
  const rows = [
    [say('kind'), has(kind) ? say(kind) : '', ''],
    [say('color'), invoice.color === 'INVOICE_COLOR_RED' ? say('colorRED') : '', ''],
    [say('number'), numberText(invoice.number ?? ''), 'figures'],
    [say('date'), dayOf(invoice.issueTime), 'figures'],
    [say('seller'), party(invoice.seller), ''],
    [say('buyer'), party(invoice.buyer), ''],
    [say('netTotal'), money(invoice.netTotalMinor), 'figures'],
    [say('taxTotal'), money(invoice.taxTotalMinor), 'figures'],
    [say('total'), money(invoice.grossTotalMinor), 'figures'],
    [say('lineCount'), String(invoice.lines?.length ?? 0), 'figures'],
  ];
  return rows.filter(([, text]) => text !== '');
}

function differences(words, response) {
  const { say } = words;
  if (response.outcome !== 'INSPECTION_OUTCOME_ALTERED') return undefined;
  if (response.differencesWithheld) return { note: say('alteredWithheld'), rows: [] };
  const listed = response.differences ?? [];
  const count = Math.max(response.differenceCount ?? 0, listed.length);
  if (count === 0) return undefined; // only what was signed is broken: the signature's row says so
  const rows = listed.map(({ path, documentValue = '', issuedValue = '' }) => [
    pathName(words, path), value(words, path, documentValue), value(words, path, issuedValue),
  ]);
  return {
    note: say('alteredCount', { n: count }),
    heads: [say('field'), say('inFile'), say('asIssued')],
    issued: rows.some((row) => row[2] !== ''), // told to the issuer only
    rows: rows.map((row) => row.map((text) => text || say('nothing'))),
    more: count > rows.length ? say('more', { n: count - rows.length }) : '',
  };
}

function pathName(words, path) {
  const { say, has } = words;
  const line = /^lines\[([0-9]+)\]\.(.+)$/.exec(path);
  if (line) return say('path_line', { n: Number(line[1]) + 1, field: pathName(words, line[2]) });
  const side = /^(seller|buyer)\.(.+)$/.exec(path);
  if (side) return `${say(side[1])} · ${pathName(words, side[2])}`;
  return has(`path_${path}`) ? say(`path_${path}`) : has(path) ? say(path) : path;
}

function value({ say }, path, text) {
  if (path === 'kind' && KINDS[text]) return say(KINDS[text]);
  if (path === 'color' && COLORS[text]) return say(COLORS[text]);
  if (path === 'issue_time') return inChina(text).slice(0, 19).replace('T', ' ') || text;
  if (path.endsWith('_minor') && /^-?[0-9]{1,30}$/.test(text)) return money(text);
  if (path.endsWith('_bp') && /^[0-9]{1,9}$/.test(text)) return `${minorText(text).replace(/\.?0+$/, '')} %`;
  return text;
}

function party(found) {
  return [found?.name, found?.taxId].filter(Boolean).join('\n');
}

function dayOf(time) {
  return inChina(time).slice(0, 10);
}

function inChina(time) {
  const at = Date.parse(time ?? '');
  return Number.isNaN(at) ? '' : new Date(at + SECONDS_EAST * 1000).toISOString();
}

function money(minor) {
  return minor === undefined || minor === null ? '' : `¥\u00a0${minorText(minor, { grouped: true }).replace('-', '\u2212')}`;
}

function nameOf(value, prefix) {
  return typeof value === 'string' && value.startsWith(prefix) ? value.slice(prefix.length) : '';
}
