// Jobs for mailauth (npm): see dkim_interop_test.py.
'use strict';

const dns = require('node:dns').promises;
const fs = require('node:fs');
const readline = require('node:readline');
const {dkimSign} = require('mailauth/lib/dkim/sign');
const {dkimVerify} = require('mailauth/lib/dkim/verify');

const server = new dns.Resolver();
server.setServers([process.argv[2]]);
const answers = new Map();
const resolver = (name, type) => {
  const question = `${name} ${type}`;
  if (!answers.has(question)) answers.set(question, server.resolve(name, type));
  return answers.get(question);
};

async function run(job) {
  const message = fs.readFileSync(job.file);
  if (job.op === 'verify') {
    const {results} = await dkimVerify(message, {resolver, minBitLength: 1024});
    return results.length === 1 ? results[0].status.result : `${results.length} results`;
  }
  const {signatures, errors} = await dkimSign(message, {
    canonicalization: job.c,
    signatureData: [{
      signingDomain: job.domain,
      selector: job.selector,
      algorithm: job.a,
      canonicalization: job.c,
      privateKey: fs.readFileSync(job.key, 'ascii'),
    }],
  });
  if (errors.length !== 0) return `error: ${errors[0].err}`;
  fs.writeFileSync(job.out, Buffer.concat([Buffer.from(signatures, 'binary'), message]));
  return 'signed';
}

(async () => {
  for await (const line of readline.createInterface({input: process.stdin})) {
    const job = JSON.parse(line);
    const result = await run(job).catch(problem => `error: ${problem.stack}`);
    console.log(JSON.stringify({file: job.file, result}));
  }
})();
