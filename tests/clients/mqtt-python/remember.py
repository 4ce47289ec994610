"""A publisher or a subscriber of MQTT 5.0 with QoS 1 or 2 that connects again, elsewhere if it has to, and writes
down everything it sees, in the words of ../python/remember.py.
"""

import json
import os
import sys
import threading
import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

# Between the end of a connection and the next attempt.
PAUSE = 0.02
# Seconds for which the session of a subscriber outlives its connection. A publisher has none: it knows itself what
# is not acknowledged, and is welcome at once wherever it goes.
EXPIRY = 3600
# Seconds that a connection attempt may take.
PATIENCE = 2


def say(word, *facts):
    print(word, f"{time.monotonic():.6f}", *facts, flush=True)


class Client:
    def __init__(self, options):
        self.options = options
        self.is_ending = False
        self.is_connected = False
        self.next_server = 0
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=options["name"], protocol=mqtt.MQTTv5)
        self.client.connect_timeout = PATIENCE
        self.client.max_inflight_messages_set(options["window"])
        self.client.max_queued_messages_set(0)
        self.client.on_connect = self.on_connect
        self.client.on_disconnect = self.on_disconnect
        threading.Thread(target=self.wait_for_end, daemon=True).start()

    def wait_for_end(self):
        if not sys.stdin.readline():
            os._exit(0)
        self.is_ending = True

    def connect(self):
        server = self.options["servers"][self.next_server % len(self.options["servers"])]
        self.next_server += 1
        host, port = server.rsplit(":", 1)
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = EXPIRY if self.has_session else 0
        self.client.connect(
            host, int(port), keepalive=int(self.options["heartbeat"]), clean_start=not self.has_session,
            properties=properties)

    def on_connect(self, client, userdata, flags, reason, properties):
        if not reason.is_failure:
            self.is_connected = True
            say("attached", "resumed" if flags.session_present else "new")
            self.greet(flags.session_present)

    def on_disconnect(self, client, userdata, flags, reason, properties):
        if self.is_connected:
            say("disconnected")
        self.is_connected = False

    def run(self):
        while True:
            try:
                self.connect()
                while self.client.loop(timeout=0.005) == mqtt.MQTT_ERR_SUCCESS:
                    if self.is_connected and self.work():
                        say("ended")
                        return
            except OSError:
                pass
            if self.is_connected:
                say("disconnected")
                self.is_connected = False
            time.sleep(PAUSE)


class Publisher(Client):
    has_session = False

    def __init__(self, options):
        super().__init__(options)
        self.under_way = {}
        self.again = []
        self.first = 0
        self.begun = None
        self.client.on_publish = self.on_publish

    def greet(self, is_resumed):
        pass

    def work(self):
        now = time.monotonic()
        if self.begun is None:
            self.begun = now
        due = self.first if self.is_ending else int((now - self.begun) * self.options["rate"])
        while len(self.under_way) < self.options["window"]:
            if self.again:
                number = self.again.pop(0)
            elif self.first < due:
                number = self.first
                self.first += 1
            else:
                break
            say("sent", number)
            sent = self.client.publish(
                self.options["address"], f"{self.options['name']}:{number}",
                qos=self.options["qos"])
            self.under_way[sent.mid] = number
        return self.is_ending and not self.under_way and not self.again

    def on_publish(self, client, userdata, mid, reason, properties):
        number = self.under_way.pop(mid, None)
        if number is None:
            return
        if reason.is_failure:
            say("rejected", number)
            self.again.append(number)
        else:
            say("accepted", number)


class Subscriber(Client):
    has_session = True

    def __init__(self, options):
        super().__init__(options)
        self.client.on_message = self.on_message
        self.client.on_subscribe = self.on_subscribe

    def greet(self, is_resumed):
        # Again in any case: a node that has no session makes one.
        self.client.subscribe(self.options["address"], qos=self.options["qos"])

    def on_subscribe(self, client, userdata, mid, reasons, properties):
        say("subscribed")

    def work(self):
        return self.is_ending

    def on_message(self, client, userdata, message):
        # It is acknowledged when this returns.
        say("got", message.payload.decode())
        say("took", message.payload.decode())


options = json.loads(sys.argv[1])
(Publisher if options["role"] == "sender" else Subscriber)(options).run()
