// Wires the page: three ways to ask, one place for the answer, two languages.

import { draw } from './answer.js';
import { CallError, FILE_BYTES_MAX, verifyDocument, verifyInvoice } from './api.js';
import { minorUnits } from './amounts.js';
import { dateText, invoiceNumber, issueDate, qrFields } from './readings.js';
import { checked, checking, empty, failed, inspected } from './verdicts.js';
import { chosenLanguage, wordsIn } from './words.js';

const READERS = { number: invoiceNumber, date: issueDate, total: minorUnits };

const byId = (id) => document.getElementById(id);
const shown = { words: undefined, verdict: empty, errors: new Map() };
let question = new AbortController();

function speak(language) {
  const words = wordsIn(language);
  shown.words = words;
  document.documentElement.lang = words.tag;
  document.title = words.say('pageTitle');
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = words.say(node.dataset.text);
  for (const node of document.querySelectorAll('[data-label]')) {
    node.setAttribute('aria-label', words.say(node.dataset.label));
  }
  for (const button of document.querySelectorAll('[data-language]')) {
    button.setAttribute('aria-pressed', String(button.dataset.language === language));
  }
  for (const [id, key] of shown.errors) blame(id, key);
  draw(shown.verdict(words), words);
}

/** Remembers the language in the address, the only thing that is remembered. */
function remember(language) {
  const address = new URL(location.href);
  address.searchParams.set('lang', language);
  history.replaceState(null, '', address);
  speak(language);
}

function show(verdict) {
  shown.verdict = verdict;
  draw(verdict(shown.words), shown.words);
}

/** Says below a field what is wrong with it; no key takes it back. */
function blame(id, key) {
  const wrong = key !== undefined;
  byId(`${id}-error`).textContent = wrong ? shown.words.say(key) : '';
  if (wrong) {
    byId(id).setAttribute('aria-invalid', 'true');
    shown.errors.set(id, key);
  } else {
    byId(id).removeAttribute('aria-invalid');
    shown.errors.delete(id);
  }
}

/** Asks, and shows what came; a newer question calls off the one before. */
async function ask(call) {
  question.abort();
  question = new AbortController();
  const { signal } = question;
  show(checking);
  byId('answer').setAttribute('aria-busy', 'true');
  let verdict;
  try {
    verdict = await call(signal);
  } catch (error) {
    if (signal.aborted) return;
    verdict = failed(error instanceof CallError ? error.reason : 'unreachable');
  }
  if (signal.aborted) return;
  byId('answer').removeAttribute('aria-busy');
  show(verdict);
  bringIntoView(byId('answer'));
}

function bringIntoView(node) {
  const box = node.getBoundingClientRect();
  if (box.top >= 0 && box.top < innerHeight * 0.6) return;
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  node.scrollIntoView({ block: 'start', behavior: calm ? 'auto' : 'smooth' });
}

function askByFields() {
  const read = {};
  for (const [id, reader] of Object.entries(READERS)) {
    read[id] = reader(byId(id).value);
    blame(id, read[id] === null ? `${id}Wrong` : undefined);
  }
  const wrong = Object.keys(READERS).find((id) => read[id] === null);
  if (wrong) {
    byId(wrong).focus();
    return;
  }
  const check = { number: read.number, date: read.date, totalMinor: read.total };
  void ask(async (signal) => checked(check, await verifyInvoice(check, signal)));
}

/** Takes the fields out of a QR code's text, and asks unless it may be misread. */
function askByCode(text, from) {
  const found = qrFields(text);
  if (!found) {
    blame(from, 'qrWrong');
    byId(from).focus();
    return;
  }
  for (const id of Object.keys(READERS)) {
    byId(id).value = found[id];
    blame(id);
  }
  blame('code', found.sound ? undefined : 'qrUnsound');
  if (found.sound) askByFields();
}

function askByFile(file) {
  if (file.size === 0) {
    question.abort();
    show(failed('emptyFile'));
  } else if (file.size > FILE_BYTES_MAX) {
    question.abort();
    show(failed('too_large'));
  } else {
    void ask(async (signal) => inspected(file.name, await verifyDocument(file, signal)));
    return;
  }
  byId('answer').removeAttribute('aria-busy');
  bringIntoView(byId('answer'));
}

function listenToFields() {
  byId('fields').addEventListener('submit', (event) => {
    event.preventDefault();
    // a scanner types into whatever field has the focus
    if (qrFields(byId('number').value)) askByCode(byId('number').value, 'number');
    else askByFields();
  });
  for (const id of Object.keys(READERS)) byId(id).addEventListener('input', () => blame(id));
  byId('date').addEventListener('change', () => {
    const date = issueDate(byId('date').value);
    if (date !== null) byId('date').value = dateText(date);
  });
  byId('qr').addEventListener('submit', (event) => {
    event.preventDefault();
    askByCode(byId('code').value, 'code');
  });
  byId('code').addEventListener('input', () => blame('code'));
}

function listenToFiles() {
  const zone = byId('drop');
  byId('file').addEventListener('change', () => {
    const [file] = byId('file').files;
    if (file) askByFile(file);
    byId('file').value = ''; // so that the same file can be chosen again
  });
  // a file dropped anywhere is checked, never opened in place of the page
  addEventListener('dragover', (event) => {
    event.preventDefault();
    zone.classList.add('over');
  });
  addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) zone.classList.remove('over');
  });
  addEventListener('drop', (event) => {
    event.preventDefault();
    zone.classList.remove('over');
    const [file] = event.dataTransfer.files;
    if (file) askByFile(file);
  });
}

for (const button of document.querySelectorAll('[data-language]')) {
  button.addEventListener('click', () => remember(button.dataset.language));
}
listenToFields();
listenToFiles();
speak(chosenLanguage(new URL(location.href), navigator.languages));
