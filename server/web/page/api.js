// The two calls this page makes, both without a key: protos/billow/verification/v1 and protos/billow/inspection/v1.

export const FILE_BYTES_MAX = 10 * 1024 * 1024; // as VerifyDocumentRequest.content
const NAME_CHARS_MAX = 255; // as VerifyDocumentRequest.file_name
const WAIT_MS = 35_000; // a little longer than the edge waits for an answer

/** A call that got no answer; `reason` is one of busy, refused, unreachable, too_large, file_unread. */
export class CallError extends Error {
  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** Checks what stands on an invoice; gives the VerificationResult. Raises CallError; AbortError when called off. */
export async function verifyInvoice({ number, date, totalMinor }, signal) {
  const check = { number, issueDate: date, grossTotalMinor: totalMinor };
  return (await call('/v1/invoices:verify', { check }, signal)).result ?? {};
}

/** Checks a file of at most FILE_BYTES_MAX; gives the VerifyDocumentResponse. Raises as verifyInvoice. */
export async function verifyDocument(file, signal) {
  const content = await base64(file);
  return call('/v1/documents:verify', { content, fileName: [...file.name].slice(0, NAME_CHARS_MAX).join('') }, signal);
}

async function call(path, body, signal) {
  let response;
  let answer;
  try {
    response = await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(body),
      credentials: 'omit',
      cache: 'no-store',
      redirect: 'error',
      referrerPolicy: 'no-referrer',
      signal: AbortSignal.any([signal, AbortSignal.timeout(WAIT_MS)]),
    });
    answer = await response.json();
  } catch (error) {
    if (signal.aborted) throw error;
    throw new CallError(response && !response.ok ? reasonOf(response.status) : 'unreachable');
  }
  if (!response.ok) throw new CallError(reasonOf(response.status));
  return answer;
}

function reasonOf(status) {
  if (status === 413) return 'too_large';
  if (status === 429 || status === 503) return 'busy';
  return status >= 500 ? 'unreachable' : 'refused';
}

async function base64(file) {
  const reader = new FileReader();
  await new Promise((resolve, reject) => {
    reader.onload = resolve;
    reader.onerror = () => reject(new CallError('file_unread'));
    reader.readAsDataURL(file);
  });
  return reader.result.slice(reader.result.indexOf(',') + 1);
}
