// An AMQP peer that a test leads: commands in, events out, one JSON object a line.
//
// The same commands and events as ../python/peer.py, so that one test runs with either library.

'use strict';

const crypto = require('crypto');
const fs = require('fs');
const readline = require('readline');

const rhea = require('rhea');

const { message: codec, types } = rhea;

// Longer encodings are told by their length and digest alone.
const ENCODED_UP_TO = 64 * 1024;

function say(event, fields) {
    process.stdout.write(JSON.stringify({ event, ...fields }) + '\n');
}

function errorOf(error) {
    return { condition: error ? error.condition : null, description: error ? error.description : null };
}

function told(encoded) {
    const fields = { length: encoded.length, digest: crypto.createHash('sha256').update(encoded).digest('hex') };
    if (encoded.length <= ENCODED_UP_TO) {
        fields.encoded = encoded.toString('hex');
    }
    return fields;
}

// The library hands out decoded messages only; a test wants the bytes as they came.
let lastEncoded;
const decode = codec.decode;
codec.decode = (buffer) => {
    lastEncoded = buffer;
    return decode(buffer);
};

// A message with every type of AMQP 1.0 that the library can write.
function everyType() {
    const values = {
        'null': null,
        'true': true,
        'false': false,
        'ubyte': types.wrap_ubyte(255),
        'ushort': types.wrap_ushort(65535),
        'uint': types.wrap_uint(4294967295),
        'small-uint': types.wrap_uint(7),
        'uint-zero': types.wrap_uint(0),
        'ulong': types.wrap_ulong(Buffer.from('ffffffffffffffff', 'hex')),
        'small-ulong': types.wrap_ulong(7),
        'ulong-zero': types.wrap_ulong(0),
        'byte': types.wrap_byte(-128),
        'short': types.wrap_short(-32768),
        'int': types.wrap_int(-2147483648),
        'small-int': types.wrap_int(-7),
        'long': types.wrap_long(Buffer.from('8000000000000000', 'hex')),
        'small-long': types.wrap_long(-7),
        'float': types.wrap_float(-1.5),
        'double': types.wrap_double(3.141592653589793),
        'char': types.wrap_char(0x20ac),
        'timestamp': types.wrap_timestamp(1700000000123),
        'uuid': types.wrap_uuid(Buffer.from('123456789abcdef0123456789abcdef0', 'hex')),
        'binary': types.wrap_binary(Buffer.from([0x00, 0xff, 0x10])),
        'long-binary': types.wrap_binary(Buffer.alloc(512, 7)),
        'string': 'gr\u00fc\u00dfe \u{1f600}',
        'long-string': 'x'.repeat(300),
        'symbol': types.wrap_symbol('a-symbol'),
        'decimal32': new types.Decimal32(Buffer.from('22500001', 'hex')),
        'decimal64': new types.Decimal64(Buffer.from('2238000000000001', 'hex')),
        'decimal128': new types.Decimal128(Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex')),
    };
    const body = {
        ...values,
        'list': types.wrap_list([1, 'two', types.wrap_list([types.wrap_uint(3)]), types.wrap_list([])]),
        'map': types.wrap_map({ nested: types.wrap_map({ key: types.wrap_ubyte(1) }) }),
        'array': types.wrap_array([1, -2, 2147483647], 0x71),
        'described': types.wrap_described(types.wrap_list([1, 2]), 'com.example:point'),
    };
    return {
        message_id: types.wrap_ulong(Buffer.from('ffffffffffffffff', 'hex')),
        user_id: Buffer.from('user'),
        subject: 'every type',
        reply_to: 'somewhere',
        correlation_id: 'correlation',
        content_type: 'application/x-test',
        content_encoding: 'identity',
        absolute_expiry_time: 4102444800000,
        creation_time: 1700000000000,
        group_id: 'group',
        group_sequence: 4294967295,
        reply_to_group_id: 'reply-group',
        message_annotations: { 'x-opt-annotation': types.wrap_list([1, 'a']) },
        application_properties: values,
        body: types.wrap_map(body),
    };
}

const container = rhea.create_container({ enable_sasl_external: false });
const links = {};
const waiting = {};
const numbers = {};
const received = {};
const deliveries = new Map();
let connection;

function push(name) {
    const sender = links[name];
    while (waiting[name].length > 0 && sender.sendable()) {
        const content = waiting[name].shift();
        const encoded = Buffer.isBuffer(content) ? content : codec.encode(content);
        numbers[name] += 1;
        const delivery = sender.send(encoded, undefined, 0);
        deliveries.set(delivery, numbers[name]);
        say('sent', { link: name, number: numbers[name], ...told(encoded) });
    }
}

const commands = {
    connect({ host, port, container: id, user, password, heartbeat_ms, sasl, mechanism, tls, virtual_host, token }) {
        const secure = tls && {
            transport: 'tls', servername: tls.server_name || host, rejectUnauthorized: true, ca: fs.readFileSync(tls.ca),
            cert: tls.certificate && fs.readFileSync(tls.certificate), key: tls.key && fs.readFileSync(tls.key),
        };
        connection = container.connect({
            ...secure, enable_sasl_external: mechanism === 'EXTERNAL',
            host, port, container_id: id, reconnect: false,
            username: user || (sasl === false || mechanism === 'EXTERNAL' ? undefined : 'anonymous'), password, token,
            idle_time_out: heartbeat_ms || undefined,
            // The host in the open, and the one before that.
            ...(virtual_host ? { hostname: virtual_host, sasl_init_hostname: virtual_host } : {}),
        });
    },
    receiver({ link, address, credit = 0, outcome = 'accepted', settled = false, browse = false, selector,
        no_local = false, durable = false, capabilities }) {
        const source = address === undefined || address === null ? { dynamic: true } : { address };
        if (browse) {
            source.distribution_mode = 'copy';
        }
        if (durable) {
            Object.assign(source, { durable: 2, expiry_policy: 'never' });
        }
        if (capabilities) {
            source.capabilities = capabilities;
        }
        if (selector) {
            Object.assign(source, { filter: rhea.filter.selector(selector) });
        }
        if (no_local) {
            const list = types.wrap_described(types.wrap_list([]), 'apache.org:no-local-filter:list');
            source.filter = { ...source.filter, 'no-local': list };
        }
        const receiver = connection.create_session();
        receiver.open();
        links[link] = receiver.open_receiver({
            name: link, source, credit_window: 0, autoaccept: false, autosettle: false,
            snd_settle_mode: settled ? 1 : 2,
        });
        links[link].wanted = outcome;
        links[link].add_credit(credit);
    },
    sender({ link, address, settled = false }) {
        const session = connection.create_session();
        session.open();
        waiting[link] = [];
        numbers[link] = 0;
        const target = address === undefined || address === null ? {} : { address };
        links[link] = session.open_sender({ name: link, target, snd_settle_mode: settled ? 1 : 2,
            treat_modified_as_released: false });
    },
    send({ link, count = 1, body, size, every = false, encoded, to, reply_to, correlation_id, ttl_ms, priority,
        durable, group, id, properties, annotations }) {
        for (let index = 1; index <= count; index++) {
            let content;
            if (encoded !== undefined) {
                content = Buffer.from(encoded, 'hex');
            } else if (every) {
                content = everyType();
            } else {
                content = size === undefined
                    ? { body: body.replace('{}', String(index)) }
                    : { body: codec.data_section(crypto.randomBytes(size)) };
                Object.assign(content, {
                    to, reply_to, correlation_id, ttl: ttl_ms, priority, durable, group_id: group, message_id: id,
                    application_properties: properties, message_annotations: annotations,
                });
            }
            waiting[link].push(content);
        }
        push(link);
    },
    credit({ link, credit }) {
        links[link].add_credit(credit);
    },
    drain({ link, credit }) {
        links[link].add_credit(credit);
        links[link].drain_credit();
    },
    settle({ link, number, outcome, condition, description, failed, undeliverable, annotations }) {
        const delivery = received[`${link} ${number}`];
        settle(delivery, { outcome, condition, description, failed, undeliverable, annotations });
    },
    detach({ link, closed = true }) {
        if (closed) {
            links[link].close();
        } else {
            links[link].detach();
        }
    },
    close() {
        connection.close();
    },
};

function settle(delivery, { outcome, condition, description, failed, undeliverable, annotations }) {
    switch (outcome) {
    case 'accepted':
        delivery.accept();
        break;
    case 'released':
        delivery.release();
        break;
    case 'rejected':
        delivery.reject(condition ? { condition, description } : undefined);
        break;
    case 'modified':
        delivery.modified({
            delivery_failed: failed, undeliverable_here: undeliverable,
            message_annotations: annotations || undefined,
        });
        break;
    default:
        throw new Error(`no outcome is called ${outcome}`);
    }
}

function confirm(state) {
    return ({ delivery }) => {
        const number = deliveries.get(delivery);
        const outcome = delivery.remote_state || {};
        say('outcome', {
            link: delivery.link.name, number, settled: delivery.remote_settled, state,
            failed: Boolean(outcome.delivery_failed), undeliverable: Boolean(outcome.undeliverable_here),
            annotations: outcome.message_annotations || {}, ...errorOf(outcome.error),
        });
    };
}

for (const state of ['accepted', 'rejected', 'released', 'modified']) {
    container.on(state, confirm(state));
}

container.on('connection_open', (context) => {
    const open = context.connection;
    const properties = {};
    for (const [key, value] of Object.entries(open.properties || {})) {
        properties[key] = String(value);
    }
    say('opened', { container: open.container_id, offered: [].concat(open.offered_capabilities || []), properties });
});
container.on('connection_close', (context) => say('closed', errorOf(context.connection.error)));
container.on('connection_error', () => {});
container.on('session_close', (context) => say('ended', errorOf(context.session.error)));
container.on('session_error', () => {});
container.on('protocol_error', (error) => say('transport-error', { condition: null, description: String(error) }));
container.on('error', (error) => {
    if (/auth/i.test(String(error && error.message))) {
        say('unauthenticated', {});
    }
    say('transport-error', { condition: error.condition || null, description: String(error.message || error) });
});
container.on('disconnected', () => say('disconnected', {}));

container.on('sender_open', ({ sender }) => {
    // Refused: the detach that says why comes next.
    if (sender.target) {
        say('attached', { link: sender.name, address: sender.target.address || null, dynamic: false });
    }
});
container.on('receiver_open', ({ receiver }) => {
    if (receiver.source) {
        const { address, dynamic } = receiver.source;
        say('attached', { link: receiver.name, address, dynamic: Boolean(dynamic) });
    }
});
for (const side of ['sender', 'receiver']) {
    container.on(`${side}_error`, () => {});
    container.on(`${side}_close`, (context) => {
        say('detached', { link: context[side].name, ...errorOf(context[side].error) });
    });
}
container.on('sender_flow', ({ sender }) => {
    say('credit', { link: sender.name, credit: sender.credit, drain: Boolean(sender._draining) });
});
container.on('sendable', ({ sender }) => push(sender.name));
container.on('sender_draining', ({ sender }) => sender.set_drained(true));
container.on('receiver_drained', ({ receiver }) => {
    receiver.drain = false;
    say('drained', { link: receiver.name });
});

container.on('message', ({ receiver, delivery, message }) => {
    const name = receiver.name;
    const number = (numbers[name] || 0) + 1;
    numbers[name] = number;
    const fields = {
        link: name, number, settled: delivery.remote_settled, reply_to: message.reply_to || null,
        correlation_id: message.correlation_id === undefined ? null : message.correlation_id,
        priority: message.priority === undefined ? 4 : message.priority, ttl_ms: message.ttl || 0,
        durable: Boolean(message.durable), first_acquirer: Boolean(message.first_acquirer),
        delivery_count: message.delivery_count || 0, annotations: message.message_annotations || {},
        ...told(lastEncoded),
    };
    if (typeof message.body === 'string') {
        fields.body = message.body;
    }
    say('message', fields);
    if (delivery.remote_settled) {
        delivery.settled = true;
    } else if (receiver.wanted === 'none') {
        received[`${name} ${number}`] = delivery;
    } else {
        settle(delivery, { outcome: receiver.wanted });
    }
});

const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
    const command = JSON.parse(line);
    commands[command.do](command);
});
lines.on('close', () => process.exit(0));
