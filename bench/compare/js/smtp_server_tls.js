// npm smtp-server with implicit TLS, as bench/tls_compare.py runs it:
// `node smtp_server_tls.js MODULES CERTIFICATE KEY`. Messages are read and dropped. Prints
// "ready PORT", and at SIGTERM "messages N passed 0".
'use strict';
const fs = require('fs');
const path = require('path');
const [modules, certificate, key] = process.argv.slice(2);
const { SMTPServer } = require(path.join(modules, 'smtp-server'));

let messages = 0;
const server = new SMTPServer({
  secure: true, cert: fs.readFileSync(certificate), key: fs.readFileSync(key),
  authOptional: true, disabledCommands: ['AUTH'], disableReverseLookup: true, size: 26214400,
  logger: false, maxClients: 2000, socketTimeout: 300000, banner: 'bench',
  onData(stream, session, callback) {
    messages += 1;
    stream.on('end', () => callback());
    stream.resume();
  },
});
server.on('error', () => {});
server.listen(0, '127.0.0.1', () => console.log(`ready ${server.server.address().port}`));
process.on('SIGTERM', () => {
  console.log(`messages ${messages} passed 0`);
  process.exit(0);
});
