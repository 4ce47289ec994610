"""An AMQP peer that a test leads: commands in, events out, one JSON object a line.

The same commands and events as ../node/peer.js, so that one test runs with either library.
"""

import hashlib
import json
import os
import sys
import threading
import uuid

from proton import (
    UNDESCRIBED, Array, Condition, Data, Delivery, Described, Endpoint, Handler, Link, Message, SASL, SSLDomain, Terminus,
    byte, char, decimal32, decimal64, decimal128, float32, int32, short, symbol, timestamp, ubyte, uint,
    ulong, ushort,
)
from proton.reactor import ApplicationEvent, Container, EventInjector

# Longer encodings are told by their length and digest alone.
ENCODED_UP_TO = 64 * 1024

STATES = {
    Delivery.ACCEPTED: "accepted",
    Delivery.REJECTED: "rejected",
    Delivery.RELEASED: "released",
    Delivery.MODIFIED: "modified",
}


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def error_of(condition):
    if condition is None:
        return {"condition": None, "description": None}
    return {"condition": condition.name, "description": condition.description}


def every_type():
    """A message with every type of AMQP 1.0 in its body and, where allowed, its properties."""
    values = {
        "null": None,
        "true": True,
        "false": False,
        "ubyte": ubyte(255),
        "ushort": ushort(65535),
        "uint": uint(4294967295),
        "small-uint": uint(7),
        "uint-zero": uint(0),
        "ulong": ulong(18446744073709551615),
        "small-ulong": ulong(7),
        "ulong-zero": ulong(0),
        "byte": byte(-128),
        "short": short(-32768),
        "int": int32(-2147483648),
        "small-int": int32(-7),
        "long": -9223372036854775808,
        "small-long": -7,
        "float": float32(-1.5),
        "double": 3.141592653589793,
        "char": char("\u20ac"),
        "timestamp": timestamp(1700000000123),
        "uuid": uuid.UUID("12345678-9abc-def0-1234-56789abcdef0"),
        "binary": b"\x00\xff\x10",
        "long-binary": bytes(range(256)) * 2,
        "string": "gr\u00fc\u00dfe \U0001f600",
        "long-string": "x" * 300,
        "symbol": symbol("a-symbol"),
    }
    decimals = {
        "decimal32": decimal32(0x22500001),
        "decimal64": decimal64(0x2238000000000001),
        "decimal128": decimal128(bytes(range(16))),
    }
    properties = {**values, **decimals}
    body = {
        **values,
        **decimals,
        "list": [1, "two", [uint(3)], []],
        "map": {"nested": {symbol("key"): ubyte(1)}},
        "array": Array(UNDESCRIBED, Data.INT, 1, -2, 2147483647),
        "described": Described(symbol("com.example:point"), [1, 2]),
        "described-by-number": Described(ulong(0x0000468C00000004), "value"),
    }
    return Message(
        id=ulong(18446744073709551615), user_id=b"user", subject="every type",
        reply_to="somewhere", correlation_id="correlation", content_type="application/x-test",
        content_encoding="identity", expiry_time=4102444800.0, creation_time=1700000000.0,
        group_id="group", group_sequence=4294967295, reply_to_group_id="reply-group",
        annotations={symbol("x-opt-annotation"): [1, "a"]},
        properties=properties, body=body,
    )


class Peer(Handler):
    def __init__(self):
        self.links = {}
        self.waiting = {}
        self.numbers = {}
        self.received = {}
        self.options = {}
        self.connection = None

    # ---- commands ---------------------------------------------------------------------------

    def on_reactor_init(self, event):
        self.container = event.container
        self.injector = EventInjector()
        event.container.selectable(self.injector)
        threading.Thread(target=self.read_commands, daemon=True).start()

    def read_commands(self):
        for line in sys.stdin:
            self.injector.trigger(ApplicationEvent("command", subject=json.loads(line)))
        os._exit(0)

    def on_command(self, event):
        command = dict(event.subject)
        getattr(self, "do_" + command.pop("do"))(**command)

    def do_connect(self, host, port, container=None, user=None, password=None, mechanism=None,
                   heartbeat_ms=None, sasl=True, tls=None, virtual_host=None):
        self.container.container_id = container or str(uuid.uuid4())
        options = {"reconnect": False, "handler": self, "sasl_enabled": sasl}
        if mechanism:
            options.update(allowed_mechs=mechanism, allow_insecure_mechs=True)
        if user:
            options.update(user=user, password=password)
        if virtual_host:
            options.update(virtual_host=virtual_host)
        if heartbeat_ms:
            # Proton tells the peer half of it.
            options.update(heartbeat=heartbeat_ms / 1000)
        if tls:
            domain = SSLDomain(SSLDomain.MODE_CLIENT)
            domain.set_trusted_ca_db(tls["ca"])
            if "certificate" in tls:
                domain.set_credentials(tls["certificate"], tls["key"], None)
            domain.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
            options["ssl_domain"] = domain
            if "server_name" in tls:
                options["sni"] = tls["server_name"]
        scheme = "amqps" if tls else "amqp"
        self.connection = self.container.connect(f"{scheme}://{host}:{port}", **options)

    def do_receiver(self, link, address=None, credit=0, outcome="accepted", settled=False, browse=False,
                    selector=None, no_local=False, durable=False, capabilities=None):
        receiver = self.connection.session()
        receiver.open()
        receiver = receiver.receiver(link)
        if address is None:
            receiver.source.dynamic = True
        else:
            receiver.source.address = address
        if settled:
            receiver.snd_settle_mode = Link.SND_SETTLED
        if browse:
            receiver.source.distribution_mode = Terminus.DIST_MODE_COPY
        if durable:
            receiver.source.durability = Terminus.DELIVERIES
            receiver.source.expiry_policy = Terminus.EXPIRE_NEVER
        if capabilities:
            receiver.source.capabilities.put_object(Array(UNDESCRIBED, Data.SYMBOL, *map(symbol, capabilities)))
        filters = {}
        if selector:
            filters[symbol("selector")] = Described(symbol("apache.org:selector-filter:string"), selector)
        if no_local:
            filters[symbol("no-local")] = Described(symbol("apache.org:no-local-filter:list"), [])
        if filters:
            receiver.source.filter.put_dict(filters)
        self.links[link] = receiver
        self.options[link] = {"outcome": outcome}
        receiver.open()
        receiver.flow(credit)

    def do_sender(self, link, address=None, settled=False):
        session = self.connection.session()
        session.open()
        sender = session.sender(link)
        if address is not None:
            sender.target.address = address
        if settled:
            sender.snd_settle_mode = Link.SND_SETTLED
        self.links[link] = sender
        self.waiting[link] = []
        self.numbers[link] = 0
        self.options[link] = {"settled": settled}
        sender.open()

    def do_send(self, link, count=1, body=None, size=None, every=False, encoded=None, to=None, reply_to=None,
                correlation_id=None, ttl_ms=None, priority=None, durable=False, group=None, id=None, properties=None,
                annotations=None, content_type=None, data=None, value=None):
        for index in range(count):
            if encoded is not None:
                message = bytes.fromhex(encoded)
            elif every:
                message = every_type()
            else:
                is_data = size is not None or data is not None
                if size is not None:
                    content = os.urandom(size)
                elif data is not None:
                    content = bytes.fromhex(data)
                else:
                    content = typed(value) if value is not None else body.replace("{}", str(index + 1))
                message = Message(body=content, inferred=is_data)
                message.content_type = content_type
                message.address = to
                message.reply_to = reply_to
                message.correlation_id = typed(correlation_id)
                if ttl_ms is not None:
                    message.ttl = ttl_ms / 1000
                if priority is not None:
                    message.priority = priority
                message.durable = durable
                message.group_id = group
                message.id = id
                if properties:
                    message.properties = {key: typed(value) for key, value in properties.items()}
                if annotations:
                    message.annotations = {symbol(key): typed(value) for key, value in annotations.items()}
            self.waiting[link].append(message)
        self.push(link)

    def do_credit(self, link, credit):
        self.links[link].flow(credit)

    def do_drain(self, link, credit):
        self.links[link].drain(credit)

    def do_settle(self, link, number, outcome, condition=None, description=None, failed=False, undeliverable=False,
                  annotations=None):
        self.settle(self.received.pop((link, number)), outcome, condition, description, failed, undeliverable,
                    annotations)

    def do_detach(self, link, closed=True):
        if closed:
            self.links[link].close()
        else:
            self.links[link].detach()

    def do_close(self):
        self.connection.close()

    # ---- work -------------------------------------------------------------------------------

    def push(self, link):
        sender = self.links[link]
        waiting = self.waiting[link]
        while waiting and sender.credit > 0 and sender.state & Endpoint.REMOTE_ACTIVE:
            message = waiting.pop(0)
            encoded = message if isinstance(message, bytes) else message.encode()
            self.numbers[link] += 1
            delivery = sender.delivery(str(self.numbers[link]))
            sender.stream(encoded)
            number = self.numbers[link]
            if self.options[link]["settled"]:
                delivery.settle()
            sender.advance()
            say("sent", link=link, number=number, **told(encoded))

    def settle(self, delivery, outcome, condition=None, description=None, failed=False, undeliverable=False,
               annotations=None):
        if outcome == "rejected" and condition:
            delivery.local.condition = Condition(condition, description)
        if outcome == "modified":
            delivery.local.failed = failed
            delivery.local.undeliverable = undeliverable
            if annotations:
                delivery.local.annotations = {symbol(key): value for key, value in annotations.items()}
        delivery.update({name: state for state, name in STATES.items()}[outcome])
        delivery.settle()

    # ---- events -----------------------------------------------------------------------------

    def on_connection_remote_open(self, event):
        connection = event.connection
        offered = connection.remote_offered_capabilities
        properties = {str(key): str(value) for key, value in (connection.remote_properties or {}).items()}
        say("opened", container=connection.remote_container, offered=[str(name) for name in offered or []],
            properties=properties, mechanism=event.transport.sasl().mech if event.transport else None)

    def on_connection_remote_close(self, event):
        say("closed", **error_of(event.connection.remote_condition))
        event.connection.close()

    def on_session_remote_close(self, event):
        say("ended", **error_of(event.session.remote_condition))

    def on_transport_error(self, event):
        condition = event.transport.condition
        if event.transport.sasl() and event.transport.sasl().outcome == SASL.AUTH:
            say("unauthenticated")
        say("transport-error", **error_of(condition))

    def on_transport_closed(self, event):
        say("disconnected")

    def on_link_remote_open(self, event):
        link = event.link
        terminus = link.remote_source if link.is_receiver else link.remote_target
        if terminus.type == Terminus.UNSPECIFIED:
            # Refused: the detach that says why comes next.
            return
        say("attached", link=link.name, address=terminus.address, dynamic=link.remote_source.dynamic)
        if link.is_sender:
            self.push(link.name)

    def on_link_remote_detach(self, event):
        say("detached", link=event.link.name, **error_of(event.link.remote_condition))

    def on_link_remote_close(self, event):
        say("detached", link=event.link.name, **error_of(event.link.remote_condition))
        event.link.close()

    def on_link_flow(self, event):
        link = event.link
        if link.is_sender:
            say("credit", link=link.name, credit=link.credit, drain=link.drain_mode)
            self.push(link.name)
            if link.drain_mode:
                link.drained()
        elif link.drain_mode and link.credit == 0:
            link.drain_mode = False
            say("drained", link=link.name)

    def on_delivery(self, event):
        delivery = event.delivery
        if delivery.link.is_receiver:
            self.take(delivery)
        elif delivery.updated or delivery.settled:
            self.confirm(delivery)

    def take(self, delivery):
        link = delivery.link
        if delivery.aborted:
            say("aborted", link=link.name)
            delivery.settle()
            return
        if not delivery.readable or delivery.partial:
            return
        encoded = link.recv(delivery.pending) or b""
        link.advance()
        message = Message()
        message.decode(encoded)
        number = self.numbers.get(link.name, 0) + 1
        self.numbers[link.name] = number
        say("message", link=link.name, number=number, settled=delivery.settled, reply_to=message.reply_to,
            correlation_id=shown(message.correlation_id), priority=message.priority, ttl_ms=round(message.ttl * 1000),
            durable=message.durable, first_acquirer=message.first_acquirer, delivery_count=message.delivery_count,
            annotations={str(key): value if isinstance(value, (str, int, list)) else str(value)
                         for key, value in (message.annotations or {}).items()},
            to=message.address,
            # Proton says "None" where there is none.
            content_type=None if message.content_type == "None" else message.content_type, expiry_time=message.expiry_time,
            application={key: shown(value) for key, value in (message.properties or {}).items()},
            data=message.body.hex() if isinstance(message.body, (bytes, memoryview)) else None,
            **told(encoded), **content(message))
        outcome = self.options[link.name]["outcome"]
        if delivery.settled:
            delivery.settle()
        elif outcome == "none":
            self.received[(link.name, number)] = delivery
        else:
            self.settle(delivery, outcome)

    def confirm(self, delivery):
        remote = delivery.remote
        annotations = remote.annotations if remote.type == Delivery.MODIFIED else None
        say("outcome", link=delivery.link.name, number=int(delivery.tag), settled=delivery.settled,
            state=STATES.get(remote.type), failed=remote.failed, undeliverable=remote.undeliverable,
            annotations={str(key): value for key, value in (annotations or {}).items()},
            **error_of(remote.condition))
        if delivery.settled:
            delivery.settle()


def told(encoded):
    fields = {"length": len(encoded), "digest": hashlib.sha256(encoded).hexdigest()}
    if len(encoded) <= ENCODED_UP_TO:
        fields["encoded"] = encoded.hex()
    return fields


def content(message):
    body = message.body
    if isinstance(body, str):
        return {"body": body}
    if isinstance(body, dict):
        values = dict(body)
        values["properties"] = {name: plain(value) for name, value in (message.properties or {}).items()}
        return {"values": {name: plain(value) for name, value in values.items()}}
    return {}


def shown(value):
    """A value as JSON can say it; what it cannot by its name and as text."""
    if isinstance(value, (bytes, memoryview)):
        return {"binary": bytes(value).hex()}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return {type(value).__name__: str(value)}


def typed(value):
    """A value of a command: {"uuid": ...}, {"binary": ...}, {"ulong": ...} or what JSON can say."""
    if not isinstance(value, dict):
        return value
    (name, content), = value.items()
    return {"uuid": uuid.UUID, "binary": bytes.fromhex, "ulong": ulong, "ubyte": ubyte, "map": dict}[name](content)


def plain(value):
    """A value with its type, as text."""
    if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
        return value
    return f"{type(value).__name__} {value!r}"


Container(Peer()).run()
