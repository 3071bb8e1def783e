// Drives `mxring log tail --group G --ack` as a program in Node would: what it was given is in its
// file before it is acknowledged.
//
//   node tail_ack.js MXRING LOG GROUP FILE
'use strict';
const { spawn } = require('child_process');
const fs = require('fs');
const readline = require('readline');

const [program, log, group, path] = process.argv.slice(2);
const out = fs.openSync(path, 'a');
const tail = spawn(program, ['log', 'tail', log, '--group', group, '--ack', '--json'],
  { stdio: ['pipe', 'pipe', 'inherit'] });
tail.stdin.on('error', () => process.exit(3));
readline.createInterface({ input: tail.stdout }).on('line', (line) => {
  const record = JSON.parse(line);
  if (record.gap) {
    console.error('a gap', record);
    process.exit(1);
  }
  fs.writeSync(out, `${record.id} ${record.sha256} ${(Date.now() / 1000).toFixed(3)}\n`);
  tail.stdin.write(`${record.offset}\n`);
});
tail.on('exit', (code) => process.exit(code === 0 ? 0 : 3));
