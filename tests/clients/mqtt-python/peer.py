"""An MQTT client that a test leads: commands in, events out, one JSON object a line.

The same commands and events as ../mqtt-node/peer.js, so that one test runs with either library. Payloads and
correlation data are hexadecimal; properties have the names of the standard, in lower case with underscores.
"""

import json
import socket
import sys
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

# As paho calls them.
NAMES = {
    "payload_format": "PayloadFormatIndicator",
    "message_expiry": "MessageExpiryInterval",
    "content_type": "ContentType",
    "response_topic": "ResponseTopic",
    "correlation_data": "CorrelationData",
    "subscription_identifier": "SubscriptionIdentifier",
    "session_expiry": "SessionExpiryInterval",
    "assigned_client_id": "AssignedClientIdentifier",
    "server_keep_alive": "ServerKeepAlive",
    "request_problem_information": "RequestProblemInformation",
    "request_response_information": "RequestResponseInformation",
    "response_information": "ResponseInformation",
    "will_delay": "WillDelayInterval",
    "server_reference": "ServerReference",
    "reason_string": "ReasonString",
    "receive_maximum": "ReceiveMaximum",
    "topic_alias_maximum": "TopicAliasMaximum",
    "topic_alias": "TopicAlias",
    "maximum_qos": "MaximumQoS",
    "retain_available": "RetainAvailable",
    "user_properties": "UserProperty",
    "maximum_packet_size": "MaximumPacketSize",
    "wildcard_subscription_available": "WildcardSubscriptionAvailable",
    "subscription_identifier_available": "SubscriptionIdentifierAvailable",
    "shared_subscription_available": "SharedSubscriptionAvailable",
    "authentication_method": "AuthenticationMethod",
}
BINARY = {"correlation_data"}


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def properties_of(packet, values):
    properties = Properties(packet)
    for name, value in (values or {}).items():
        if name == "user_properties":
            for pair in value:
                properties.UserProperty = tuple(pair)
        else:
            setattr(properties, NAMES[name], bytes.fromhex(value) if name in BINARY else value)
    return properties


def told(properties):
    if properties is None:
        return {}
    values = {}
    for name, attribute in NAMES.items():
        if hasattr(properties, attribute):
            value = getattr(properties, attribute)
            if name == "user_properties":
                value = [list(pair) for pair in value]
            values[name] = value.hex() if isinstance(value, bytes) else value
    return values


def number_of(reason):
    return reason.value if hasattr(reason, "value") else reason


class Peer:
    def __init__(self):
        self.client = None
        self.version = 5
        self.held = {}
        self.count = 0

    # ---- commands ---------------------------------------------------------------------------

    def run(self):
        for line in sys.stdin:
            command = json.loads(line)
            getattr(self, "do_" + command.pop("do"))(**command)

    def do_connect(self, host, port, version=5, client_id="", clean=True, keep_alive=60, will=None, properties=None,
                   hold=False, websocket=False, user=None, password=None, resume=False, in_flight=None, tls=None):
        self.version = version
        if resume:
            # The same client: it remembers what is under way.
            self.client.connect(host, port, keep_alive, **self.start(clean, properties))
            return self.turn()
        options = {} if version == 5 else {"clean_session": clean}
        self.client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id, manual_ack=hold, reconnect_on_failure=False,
            protocol=mqtt.MQTTv5 if version == 5 else mqtt.MQTTv311,
            transport="websockets" if websocket else "tcp", **options,
        )
        if websocket:
            client.ws_set_options(path="/mqtt")
        if tls is not None:
            client.tls_set(tls["ca"], tls.get("certificate"), tls.get("key"))
        if user is not None:
            client.username_pw_set(user, password)
        if in_flight is not None:
            client.max_inflight_messages_set(in_flight)
        if will is not None:
            client.will_set(
                will["topic"], bytes.fromhex(will.get("payload", "")), will.get("qos", 0), will.get("retain", False),
                properties_of(PacketTypes.WILLMESSAGE, will.get("properties")) if version == 5 else None,
            )
        client.on_connect = self.on_connect
        client.on_message = self.on_message
        client.on_publish = self.on_publish
        client.on_subscribe = self.on_subscribe
        client.on_unsubscribe = self.on_unsubscribe
        client.on_disconnect = self.on_disconnect
        client.connect(host, port, keep_alive, **self.start(clean, properties))
        self.turn()

    def start(self, clean, properties):
        if self.version != 5:
            return {}
        return {"clean_start": clean, "properties": properties_of(PacketTypes.CONNECT, properties)}

    def turn(self):
        # The thread of the connection before may not be through.
        while self.client.loop_start() != mqtt.MQTT_ERR_SUCCESS:
            time.sleep(0.01)

    def do_subscribe(self, filters, identifier=None):
        if self.version == 5:
            wanted = [
                (name, SubscribeOptions(
                    options.get("qos", 0), options.get("no_local", False), options.get("retain_as_published", False),
                    options.get("retain_handling", 0)))
                for name, options in filters
            ]
            properties = {"subscription_identifier": identifier} if identifier else None
            self.client.subscribe(wanted, properties=properties_of(PacketTypes.SUBSCRIBE, properties))
        else:
            self.client.subscribe([(name, options.get("qos", 0)) for name, options in filters])

    def do_unsubscribe(self, filters):
        self.client.unsubscribe(filters)

    def do_publish(self, topic, payload="", qos=0, retain=False, properties=None, count=1):
        for index in range(count):
            content = bytes.fromhex(payload) or (str(index + 1).encode() if count > 1 else b"")
            self.client.publish(
                topic, content, qos, retain,
                properties_of(PacketTypes.PUBLISH, properties) if self.version == 5 else None)

    def do_acknowledge(self, number):
        mid, qos = self.held.pop(number)
        self.client.ack(mid, qos)

    def do_disconnect(self, reason=0, properties=None):
        if self.version == 5:
            self.client.disconnect(
                ReasonCode(PacketTypes.DISCONNECT, identifier=reason),
                properties_of(PacketTypes.DISCONNECT, properties))
        else:
            self.client.disconnect()

    def do_cut(self):
        """Ends the connection without a word."""
        connection = self.client.socket()
        # Of WebSocket it is a wrapper.
        getattr(connection, "_socket", connection).shutdown(socket.SHUT_RDWR)

    # ---- events -----------------------------------------------------------------------------

    def on_connect(self, client, _data, flags, reason, properties):
        say("connected", reason=number_of(reason), session_present=flags.session_present,
            properties=told(properties))

    def on_message(self, _client, _data, message):
        self.count += 1
        self.held[self.count] = (message.mid, message.qos)
        say("message", number=self.count, topic=message.topic, payload=message.payload.hex(), qos=message.qos,
            retain=message.retain, dup=message.dup, id=message.mid,
            properties=told(message.properties) if self.version == 5 else {})

    def on_publish(self, _client, _data, _mid, reason, properties):
        say("published", reason=number_of(reason), properties=told(properties))

    def on_subscribe(self, _client, _data, _mid, reasons, properties):
        say("subscribed", reasons=[number_of(reason) for reason in reasons], properties=told(properties))

    def on_unsubscribe(self, _client, _data, _mid, reasons, properties):
        say("unsubscribed", reasons=[number_of(reason) for reason in reasons], properties=told(properties))

    def on_disconnect(self, _client, _data, flags, reason, properties):
        by_server = flags.is_disconnect_packet_from_server
        say("disconnected", by_server=by_server, reason=number_of(reason) if by_server else None,
            properties=told(properties))


Peer().run()
