// npm smtp-server as bench/compare runs it: `node smtp_server.js WORK STORE [DNS]`, its modules
// found by NODE_PATH. WORK is discard, store (a file with fsync for each message) or verify
// (mailauth, refused unless DKIM, SPF and DMARC pass). Prints "ready PORT", and at SIGTERM
// "messages N passed M".
'use strict';
const fs = require('fs');
const path = require('path');
const [work, store, dns] = process.argv.slice(2);
const { SMTPServer } = require('smtp-server');

let messages = 0;
let passed = 0;
let verify = null;

if (work === 'verify') {
  const { authenticate } = require('mailauth');
  const { Resolver } = require('dns').promises;
  const resolver = new Resolver();
  resolver.setServers([dns]);
  // Answers are kept, as a receiver in earnest would.
  const cache = new Map();
  const ask = (name, type) => {
    const key = `${type} ${name}`;
    if (!cache.has(key)) cache.set(key, resolver.resolve(name, type));
    return cache.get(key);
  };
  verify = async (stream, session) => {
    const results = await authenticate(stream, {
      ip: session.remoteAddress, helo: session.hostNameAppearsAs, mta: 'bench.example',
      sender: session.envelope.mailFrom.address, resolver: ask, disableArc: true,
      disableBimi: true,
    });
    const dkim = results.dkim.results.some((entry) => entry.status.result === 'pass');
    return dkim && results.spf.status.result === 'pass' && results.dmarc.status.result === 'pass';
  };
}

function toFile(stream, callback) {
  const file = path.join(store, String(messages));
  const out = fs.createWriteStream(file, { flags: 'wx' });
  stream.pipe(out, { end: false });
  stream.on('end', () => {
    const sync = () => fs.fsync(out.fd, (error) => out.end(() => callback(error)));
    if (out.pending) out.once('ready', sync); else out.write('', sync);
  });
}

const server = new SMTPServer({
  authOptional: true, disabledCommands: ['AUTH', 'STARTTLS'], disableReverseLookup: true,
  size: 26214400, logger: false, maxClients: 2000, socketTimeout: 300000, banner: 'bench',
  onData(stream, session, callback) {
    messages += 1;
    if (work === 'discard') {
      stream.on('end', () => callback());
      stream.resume();
    } else if (work === 'store') {
      toFile(stream, callback);
    } else {
      verify(stream, session).then((good) => {
        if (good) passed += 1;
        callback(good ? null : new Error('authentication failed'));
      }, callback);
    }
  },
});
server.on('error', () => {});
server.listen(0, '127.0.0.1', () => console.log(`ready ${server.server.address().port}`));
process.on('SIGTERM', () => {
  console.log(`messages ${messages} passed ${passed}`);
  process.exit(0);
});
