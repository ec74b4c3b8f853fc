// Every word of the page, in Chinese and English side by side, so that neither is forgotten.

export const LANGUAGES = ['zh', 'en'];
const TAGS = { zh: 'zh-CN', en: 'en' };

const WORDS = {
  pageTitle: ['发票查验 · Billow', 'Invoice check · Billow'],
  languages: ['语言', 'Language'],
  title: ['这张发票是真的吗？', 'Is this invoice real?'],
  lead: [
    '对照签发时的记录，查验您手中的发票及其当前状态。',
    'Check an invoice you hold against what was issued, and see its state today.',
  ],
  fieldsTitle: ['按票面信息查验', 'From what stands on it'],
  number: ['发票号码', 'Invoice number'],
  numberHint: ['20 位数字', '20 digits'],
  date: ['开票日期', 'Issue date'],
  dateHint: ['例如 2026-11-18', 'As in 2026-11-18'],
  total: ['价税合计', 'Total with tax'],
  totalHint: ['小写金额，例如 1130.00', 'In figures, as in 1130.00'],
  check: ['查验', 'Check'],
  checking: ['正在查验…', 'Checking…'],
  numberWrong: ['请输入 20 位数字的发票号码。', 'Enter the number: 20 digits.'],
  dateWrong: ['请输入开票日期，例如 2026-11-18。', 'Enter the date, as in 2026-11-18.'],
  totalWrong: ['请输入价税合计，例如 1130.00，最多两位小数。', 'Enter the total, as in 1130.00, with at most two decimals.'],
  qrTitle: ['按二维码内容查验', 'From its QR code'],
  qrLabel: ['二维码内容', 'Text of the QR code'],
  qrHint: ['粘贴扫描得到的文字，以“01,”开头', 'Paste what a scanner reads; it starts with “01,”'],
  qrCheck: ['查验', 'Check'],
  qrWrong: ['这不是发票二维码的内容。', 'This is not the text of an invoice’s QR code.'],
  qrUnsound: [
    '校验位不符，可能有误读。请核对上方已填入的信息，再点“查验”。',
    'Its check digits do not fit, so it may be misread. Compare the fields filled in above with the invoice, then check.',
  ],
  fileTitle: ['按文件查验', 'From the file itself'],
  fileDrop: ['将文件拖到这里，或', 'Drop the file here, or'],
  fileChoose: ['选择文件', 'Choose a file'],
  fileHint: ['XML、OFD 或 PDF，不超过 10\u00a0MB', 'XML, OFD or PDF, up to 10\u00a0MB'],
  answerLabel: ['查验结果', 'Answer'],
  emptyTitle: ['尚未查验', 'Nothing checked yet'],
  emptyText: ['结果将显示在这里。', 'The answer will appear here.'],
  privacy: [
    '本页面不使用 Cookie，不在您的设备上保存任何内容，也不访问其他网站。',
    'This page sets no cookies, keeps nothing on your device, and asks no other site.',
  ],

  // verdicts
  normal: ['一致，状态正常', 'Genuine'],
  normalText: ['与签发记录一致，未被红冲。', 'It agrees with what was issued, and nothing has been taken back.'],
  partlyRed: ['一致，已部分红冲', 'Genuine, partly taken back'],
  partlyRedText: [
    '与签发记录一致，但其中一部分已被红字发票冲销。',
    'It agrees with what was issued. Red-letter invoices have taken back a part of it.',
  ],
  fullyRed: ['一致，但已全额红冲', 'Genuine, but void'],
  fullyRedText: [
    '与签发记录一致，但已被红字发票全额冲销，不再有效。',
    'It agrees with what was issued. Red-letter invoices have taken back all of it: it no longer counts.',
  ],
  mismatch: ['不一致', 'Does not match'],
  mismatchText: [
    '有这个号码的发票，但日期或金额与签发记录不符。请核对后重试。',
    'There is an invoice with this number, but its date or total differs. Compare what you entered with the invoice.',
  ],
  notFound: ['查无此票', 'Not found'],
  notFoundText: [
    '这里没有签发过这个号码的发票。请核对号码；若无误，请当心。',
    'No invoice with this number was issued here. Compare the number; if it is right, be careful.',
  ],
  tooMany: ['今日查验次数已用完', 'Too many checks today'],
  tooManyText: ['这张发票今天已查验多次，请明天再试。', 'This invoice was checked too often today. Try again tomorrow.'],
  invalid: ['无法查验', 'Cannot be checked'],
  invalidText: ['所填信息不可能属于一张发票。请核对后重试。', 'What you entered cannot belong to an invoice. Compare it, and try again.'],
  tooOld: ['超出查验期限', 'Too old to check'],
  tooOldText: ['这张发票签发已久，此处不再提供查验。', 'It was issued longer ago than checks are answered for.'],
  fileNormalText: ['文件内容与签发记录一致，未被红冲。', 'The file says what was issued, and nothing has been taken back.'],
  dataGenuine: ['数据一致，版面未比对', 'The data are genuine'],
  dataGenuineText: [
    '文件内的发票数据与签发记录一致，但文件本身不是这里生成的。请以下列数据为准，勿以版面为准。',
    'The invoice data in the file are as issued, but the file around them was not made here. Trust the data below, not the pages.',
  ],
  altered: ['已被改动', 'Altered'],
  alteredText: ['这张发票确有签发，但文件内容与签发记录不符。', 'Such an invoice was issued, but this file says something else.'],
  alteredCount: ['共 {n} 处不同：', 'Fields that differ: {n}'],
  alteredWithheld: [
    '未持有票面正确的日期和金额时，不告知具体字段。',
    'Which fields differ is told only when the date and the total are right.',
  ],
  unrecognized: ['无法识别', 'Not recognized'],
  unrecognizedText: ['这不是 XML、OFD 或 PDF 文件。', 'This is no XML, OFD or PDF file.'],
  unreadable: ['无法读取', 'Cannot be read'],
  unreadableText: ['从这个文件中读不出发票。', 'No invoice could be read from this file.'],
  unreadableTOO_LARGE: ['文件过大，超出任何发票应有的大小。', 'It is larger than any invoice.'],
  unreadableFORBIDDEN: ['文件含有发票中不应出现的内容，请勿打开。', 'It holds what no honest invoice holds. Do not open it.'],
  unreadableMALFORMED: ['文件已损坏或不完整。请重新获取。', 'It is damaged or cut off. Ask for it again.'],
  unreadableNOT_AN_INVOICE: ['文件内容不是发票。', 'What is in it is no invoice.'],
  unreadableINCONSISTENT: ['文件的数据与人们看到的版面不同，请当心。', 'Its data differ from what people see. Be careful.'],
  unreadableNO_INVOICE_DATA: [
    '文件中没有发票数据，只有版面。请按票面信息查验。',
    'It has pages for people, and no invoice data. Check what stands on it instead.',
  ],
  unreadableENCRYPTED: ['文件已加密。', 'It is encrypted.'],
  unreadableTOO_COSTLY: ['读取这个文件耗费过多，已停止。', 'Reading it took more than any invoice does, so it was stopped.'],

  // no answer
  busy: ['现在很忙', 'Busy right now'],
  busyText: ['请稍等片刻再试。发票的真伪尚不清楚。', 'Try again in a moment. This says nothing about the invoice.'],
  unreachable: ['没有得到答复', 'No answer'],
  unreachableText: ['请检查网络后重试。发票的真伪尚不清楚。', 'Look after your connection and try again. This says nothing about the invoice.'],
  refused: ['请求未被接受', 'Not accepted'],
  refusedText: ['查验请求未被接受。发票的真伪尚不清楚。', 'The question was not accepted. This says nothing about the invoice.'],
  too_large: ['文件过大', 'The file is too large'],
  too_largeText: ['最多 10 MB。请按票面信息查验。', 'Up to 10 MB can be checked. Check what stands on it instead.'],
  file_unread: ['文件打不开', 'The file cannot be opened'],
  file_unreadText: ['浏览器读不了这个文件。', 'The browser could not read it.'],
  emptyFile: ['文件是空的', 'The file is empty'],
  emptyFileText: ['请重新选择文件。', 'Choose another one.'],

  // facts
  state: ['状态', 'State'],
  stateNORMAL: ['正常', 'Normal'],
  statePARTLY_RED: ['部分红冲', 'Partly red-lettered'],
  stateFULLY_RED: ['全额红冲', 'Fully red-lettered'],
  redTotal: ['红冲金额', 'Taken back'],
  remainder: ['余额', 'Remaining'],
  file: ['文件', 'File'],
  kind: ['票种', 'Kind'],
  kindSPECIAL: ['增值税专用发票', 'Special VAT invoice'],
  kindGENERAL: ['普通发票', 'General invoice'],
  color: ['蓝字或红字', 'Blue or red'],
  colorBLUE: ['蓝字', 'Blue'],
  colorRED: ['红字', 'Red-letter'],
  seller: ['销售方', 'Seller'],
  buyer: ['购买方', 'Buyer'],
  netTotal: ['不含税金额', 'Total without tax'],
  taxTotal: ['税额', 'Tax'],
  lineCount: ['行数', 'Lines'],
  signature: ['数字签名', 'Digital signature'],
  signatureNONE: ['无', 'None'],
  signatureVALID: ['有效', 'Valid'],
  signatureINVALID: ['无效：签名后内容有变', 'Invalid: changed after signing'],
  signatureUNKNOWN_KEY: ['签名者未知，不作判断', 'By a signer not known here: says nothing'],
  saysTitle: ['文件所载内容', 'What the file says'],
  field: ['字段', 'Field'],
  inFile: ['文件所载', 'In the file'],
  asIssued: ['签发记录', 'As issued'],
  more: ['另有 {n} 处未列出。', '{n} more are not listed.'],
  nothing: ['（空）', '(empty)'],

  // names of fields that may differ; other paths are shown as they are
  path_document: ['发票字段以外的内容', 'What stands besides the fields'],
  path_lines: ['行数', 'Number of lines'],
  path_line: ['第 {n} 行 · {field}', 'Line {n} · {field}'],
  path_name: ['名称', 'Name'],
  path_tax_id: ['纳税人识别号', 'Taxpayer id'],
  path_address: ['地址', 'Address'],
  path_phone: ['电话', 'Telephone'],
  path_bank_name: ['开户银行', 'Bank'],
  path_bank_account: ['银行账号', 'Bank account'],
  path_category: ['商品类别', 'Category'],
  path_goods_code: ['商品编码', 'Goods code'],
  path_specification: ['规格型号', 'Specification'],
  path_unit: ['单位', 'Unit'],
  path_quantity: ['数量', 'Quantity'],
  path_unit_price: ['单价', 'Unit price'],
  path_amount_minor: ['金额', 'Amount'],
  path_net_minor: ['不含税金额', 'Amount without tax'],
  path_gross_minor: ['含税金额', 'Amount with tax'],
  path_tax_minor: ['税额', 'Tax'],
  path_tax_rate_bp: ['税率', 'Tax rate'],
  path_zero_rate_reason: ['零税率原因', 'Reason of the zero rate'],
  path_type: ['行性质', 'Type of the line'],
  path_prices_include_tax: ['单价是否含税', 'Whether prices include tax'],
  path_remark: ['备注', 'Remark'],
  path_drawer: ['开票人', 'Drawer'],
  path_currency: ['币种', 'Currency'],
  path_number: ['发票号码', 'Invoice number'],
  path_blue_number: ['对应蓝字发票号码', 'Number of the blue invoice'],
  path_issue_time: ['开票时间', 'Time of issue'],
  path_net_total_minor: ['不含税金额合计', 'Total without tax'],
  path_tax_total_minor: ['税额合计', 'Total tax'],
  path_gross_total_minor: ['价税合计', 'Total with tax'],
};

/** The words in one language: `say(key, {n: 3})`, `has(key)`, and `tag` for lang attributes. */
export function wordsIn(language) {
  const column = LANGUAGES.indexOf(language);
  return {
    language,
    tag: TAGS[language],
    has: (key) => Object.hasOwn(WORDS, key),
    say: (key, values = {}) => WORDS[key][column].replace(/\{(\w+)\}/g, (_, name) => values[name]),
  };
}

/** The language asked for in the address, else the first of the browser's that the page has, else English. */
export function chosenLanguage(address, wanted) {
  const asked = address.searchParams.get('lang');
  if (LANGUAGES.includes(asked)) return asked;
  const tags = wanted.map((tag) => tag.toLowerCase().split('-')[0]);
  return tags.find((tag) => LANGUAGES.includes(tag)) ?? 'en';
}
