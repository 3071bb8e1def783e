// Haraka plugin of bench/compare, before all others: the DNS server of the test, and recipients.
'use strict';
const dns = require('dns');

exports.register = function () {
  if (process.env.BENCH_DNS) {
    dns.setServers([process.env.BENCH_DNS]);
    dns.promises.setServers([process.env.BENCH_DNS]);
  }
};

exports.hook_rcpt = (next) => next(OK);
