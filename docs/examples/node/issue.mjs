// Streams one batch of invoices from Node, with nothing but the .proto files:
//
//     make up
//     npm install --prefix docs/examples/node
//     node docs/examples/node/issue.mjs 127.0.0.1:PORT API_KEY SELLER_ID [COUNT]
//
// Prints a line of JSON: how many were issued, and the first and last number.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';
import { getProtoPath } from 'google-proto-files';

const [target, key, sellerId, count = '100'] = process.argv.slice(2);
if (!sellerId) {
  console.error('usage: node issue.mjs HOST:PORT API_KEY SELLER_ID [COUNT]');
  process.exit(2);
}

const protos = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../../protos');
const definition = loader.loadSync('billow/issuance/v1/issuance.proto', {
  includeDirs: [protos, path.dirname(getProtoPath())],
  longs: String,
  enums: String,
  oneofs: true,
});
const { billow } = grpc.loadPackageDefinition(definition);
const client = new billow.issuance.v1.IssuanceService(target, grpc.credentials.createInsecure());

const metadata = new grpc.Metadata();
metadata.set('authorization', `Bearer ${key}`);

const run = `node-${Date.now()}`;
const requests = Array.from({ length: Number(count) }, (_, serial) => ({
  sellerId,
  requestId: `${run}-${serial}`,
  invoice: {
    kind: 'INVOICE_KIND_GENERAL',
    buyer: { name: '示例买方' },
    lines: [{ name: 'tea', goodsCode: '1030201010000000000', quantity: '2', unitPrice: '12.50', taxRateBp: 1300 }],
  },
}));

const stream = client.StreamIssueInvoices(metadata, { deadline: Date.now() + 30_000 });
stream.on('data', ({ results }) => {
  const issued = results.filter((item) => item.result === 'issued').map((item) => item.issued.number);
  const refused = results.filter((item) => item.result === 'error').map((item) => item.error.message);
  console.log(JSON.stringify({ issued: issued.length, refused, first: issued[0], last: issued.at(-1) }));
});
stream.on('error', (error) => {
  console.error(`${grpc.status[error.code]}: ${error.details}`);
  process.exit(1);
});
stream.on('end', () => client.close());
stream.write({ sequence: 1, requests });
stream.end();
