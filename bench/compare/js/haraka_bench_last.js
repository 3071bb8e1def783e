// Haraka plugin of bench/compare, after all others: drops the message, or stores it in a file with
// fsync, and counts; a message that should be verified and did not pass is refused.
'use strict';
const fs = require('fs');
const path = require('path');
const work = process.env.BENCH_WORK;
let messages = 0;
let passed = 0;

function hasPassed(connection) {
  const transaction = connection.transaction;
  const dkim = transaction.results.get('dkim');
  const spf = transaction.results.get('spf');
  return Boolean(dkim && dkim.pass.length > 0 && spf && spf.result === 'Pass');
}

exports.hook_queue = function (next, connection) {
  messages += 1;
  if (work === 'store') {
    const file = path.join(process.env.BENCH_STORE, String(messages));
    connection.transaction.message_stream.get_data((data) => {
      fs.open(file, 'wx', (error, fd) => {
        if (error) return next(DENYSOFT, error.message);
        fs.write(fd, data, () => fs.fsync(fd, () => fs.close(fd, () => next(OK))));
      });
    });
    return;
  }
  if (work === 'verify') {
    if (!hasPassed(connection)) return next(DENY, 'authentication failed');
    passed += 1;
  }
  next(OK);
};

process.on('SIGTERM', () => {
  fs.writeSync(1, `messages ${messages} passed ${passed}\n`);
  process.exit(0);
});
