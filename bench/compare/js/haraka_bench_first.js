// Haraka plugin of bench/compare, before all others: the DNS server of the test, and recipients.
'use strict';
const dns = require('dns');

exports.register = function () {
  if (process.env.BENCH_DNS) {
    dns.setServers([process.env.BENCH_DNS]);
    dns.promises.setServers([process.env.BENCH_DNS]);
  }
};

// SPF is not evaluated for private addresses, and loopback is one.
exports.hook_connect_init = (next, connection) => {
  connection.set('remote', 'is_private', false);
  connection.set('remote', 'is_local', false);
  next();
};

exports.hook_rcpt = (next) => next(OK);
