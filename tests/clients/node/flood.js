// Clients that a node does not want: they begin TLS, or say who they are wrongly, in as many connections at a time as
// they are told to, for ever. One JSON object a line tells how many attempts have come to an end.

'use strict';

const net = require('net');
const tls = require('tls');

const [kind, port, connections] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])];
let count = 0;

function over() {
    count += 1;
    if (count % 10 === 0) {
        process.stdout.write(JSON.stringify({ event: 'flooded', count }) + '\n');
    }
    setImmediate(begin);
}

// AMQP 5.3.3.2: what a client says first, with its mechanism and message.
function init(mechanism, message) {
    const name = Buffer.from(mechanism);
    const items = Buffer.concat([
        Buffer.from([0xa3, name.length]), name,
        Buffer.from([0xb0, 0, 0, 0, message.length]), message,
    ]);
    const list = Buffer.concat([Buffer.from([0x00, 0x53, 0x41, 0xc0, items.length + 1, 2]), items]);
    const head = Buffer.alloc(8);
    head.writeUInt32BE(8 + list.length, 0);
    head.set([2, 1], 4);
    return Buffer.concat([Buffer.from('AMQP\x03\x01\x00\x00', 'latin1'), head, list]);
}

function begin() {
    if (kind === 'tls') {
        const socket = tls.connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => socket.destroy());
        socket.on('error', () => {});
        socket.on('close', over);
        return;
    }
    const user = `user${Math.floor(Math.random() * 1e9)}`;
    const message = kind === 'plain' ? `\0${user}\0guess` : `n,,n=${user},r=abcdefghijklmnop`;
    const socket = net.connect(port, '127.0.0.1', () => {
        socket.write(init(kind === 'plain' ? 'PLAIN' : 'SCRAM-SHA-256', Buffer.from(message)));
    });
    let length = 0;
    socket.on('data', (bytes) => {
        length += bytes.length;
        // Beyond the header and the list of mechanisms it is a challenge or the outcome.
        if (length > 8 && [0x42, 0x44].some((code) => bytes.includes(Buffer.from([0x53, code])))) {
            socket.destroy();
        }
    });
    socket.on('error', () => {});
    socket.on('close', over);
}

for (let index = 0; index < connections; index++) {
    begin();
}
