// Draws a verdict into the page. All text goes in as text, never as HTML: a file may say what it likes.

const HAN = /\p{Script=Han}/u;

/** Shows a verdict; what is announced is its title and sentence, the facts are there to be read. */
export function draw(verdict, words) {
  const section = document.getElementById('answer');
  section.dataset.tone = verdict.tone;
  document.getElementById('seal').setAttribute('href', `#icon-${verdict.icon}`);
  const parts = [element('p', verdict.title, 'title')];
  if (verdict.text) parts.push(element('p', verdict.text, 'text'));
  document.getElementById('verdict').replaceChildren(...parts);

  const details = [];
  if (verdict.facts.length) details.push(facts(verdict.facts, words));
  if (verdict.differences) details.push(...differing(verdict.differences, words));
  if (verdict.says) details.push(element('h3', verdict.says.title, 'quiet'), facts(verdict.says.facts, words));
  document.getElementById('details').replaceChildren(...details);
}

function facts(rows, words) {
  const list = document.createElement('dl');
  for (const [label, text, form] of rows) {
    const row = document.createElement('div');
    row.append(element('dt', label), foreign(element('dd', text, form), words));
    list.append(row);
  }
  return list;
}

function differing({ note, heads, issued, rows, more }, words) {
  const drawn = [element('p', note, 'note')];
  if (!rows.length) return drawn;
  const table = document.createElement('table');
  const width = issued ? 3 : 2;
  const head = table.createTHead().insertRow();
  for (const text of heads.slice(0, width)) {
    const cell = element('th', text);
    cell.scope = 'col';
    head.append(cell);
  }
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    const name = element('th', row[0]);
    name.scope = 'row';
    line.append(name, ...row.slice(1, width).map((text) => foreign(element('td', text), words)));
  }
  drawn.push(table);
  if (more) drawn.push(element('p', more, 'note'));
  return drawn;
}

function element(name, text, className = '') {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

// names on invoices are Chinese whatever the page speaks
function foreign(made, words) {
  if (words.language !== 'zh' && HAN.test(made.textContent)) made.lang = 'zh-CN';
  return made;
}
