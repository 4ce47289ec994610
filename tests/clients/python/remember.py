"""A sender or a receiver that connects again, elsewhere if it has to, and writes down everything it sees.

It is told what to be by an object of JSON. What it writes are lines of words: what happened, when (seconds of the
machine's monotonic clock), and to what. A line on standard input ends it: a sender first has everything settled.
"""

import json
import os
import sys
import threading
import time

from proton import Delivery, Message
from proton.handlers import MessagingHandler
from proton.reactor import ApplicationEvent, Container, EventInjector

# Between the end of a connection and the next attempt.
PAUSE = 0.02
# Between two looks at what is to be sent.
TICK = 0.005


def say(word, *facts, at=None):
    print(word, f"{time.monotonic() if at is None else at:.6f}", *facts, flush=True)


class Client(MessagingHandler):
    """What senders and receivers have in common: a connection that is always wanted."""

    def __init__(self, options, **how):
        super().__init__(**how)
        self.options = options
        self.servers = options["servers"]
        self.next_server = 0
        self.connection = None
        self.link = None
        self.is_ready = False
        self.is_ending = False

    def on_start(self, event):
        self.container = event.container
        self.container.container_id = self.options["name"]
        injector = EventInjector()
        self.container.selectable(injector)
        threading.Thread(target=self.wait_for_end, args=[injector], daemon=True).start()
        self.connect()

    def wait_for_end(self, injector):
        if not sys.stdin.readline():
            os._exit(0)
        injector.trigger(ApplicationEvent("end"))

    def connect(self):
        server = self.servers[self.next_server % len(self.servers)]
        self.next_server += 1
        self.connection = self.container.connect(
            f"amqp://{server}", reconnect=False, heartbeat=self.options["heartbeat"], sasl_enabled=False)
        self.link = self.attach()

    def on_link_opened(self, event):
        if event.link == self.link:
            self.is_ready = True
            say("attached", self.connection.remote_container)

    def on_link_error(self, event):
        if event.link == self.link:
            say("detached", event.link.remote_condition.name)
            self.forget()
            self.link.close()
            self.link = None
            self.container.schedule(PAUSE, After(self.attach_again))

    def attach_again(self):
        if self.link is None and self.connection is not None:
            self.link = self.attach()

    def on_connection_error(self, event):
        event.connection.close()

    def on_transport_error(self, event):
        # The end of the transport follows.
        pass

    def on_transport_closed(self, event):
        if self.connection is None or event.connection != self.connection:
            return
        if self.is_ready and not self.is_ending:
            say("disconnected")
        self.connection = self.link = None
        self.forget()
        if self.is_ending:
            self.leave()
        else:
            self.container.schedule(PAUSE, After(self.connect))

    def forget(self):
        self.is_ready = False

    def leave(self):
        say("ended")
        os._exit(0)


class After:
    def __init__(self, do):
        self.do = do

    def on_timer_task(self, event):
        self.do()


class Sender(Client):
    def __init__(self, options):
        super().__init__(options)
        self.again = []
        self.under_way = {}
        self.first = 0
        self.begun = None

    def attach(self):
        return self.container.create_sender(self.connection, self.options["address"])

    def on_start(self, event):
        super().on_start(event)
        self.tick()

    def tick(self):
        self.send_what_is_due()
        self.container.schedule(TICK, After(self.tick))

    def on_end(self, event):
        self.is_ending = True

    def forget(self):
        super().forget()
        # Whether they have arrived nobody can say: they are sent once more.
        for number in self.under_way.values():
            say("unknown", number)
            self.again.append(number)
        self.under_way = {}

    def send_what_is_due(self):
        if not self.is_ready:
            return
        now = time.monotonic()
        if self.begun is None:
            self.begun = now
        due = self.first if self.is_ending else int((now - self.begun) * self.options["rate"])
        while self.link.credit > 0 and len(self.under_way) < self.options["window"]:
            if self.again:
                number = self.again.pop(0)
            elif self.first < due:
                number = self.first
                self.first += 1
            else:
                break
            say("sent", number)
            delivery = self.link.send(Message(body=f"{self.options['name']}:{number}", durable=True))
            self.under_way[delivery.tag] = number
        if self.is_ending and not self.again and not self.under_way:
            self.leave()

    def on_sendable(self, event):
        self.send_what_is_due()

    def settle(self, event, word):
        number = self.under_way.pop(event.delivery.tag, None)
        if number is None:
            return
        say(word, number)
        if word != "accepted":
            self.again.append(number)

    def on_accepted(self, event):
        self.settle(event, "accepted")

    def on_rejected(self, event):
        self.settle(event, "rejected")

    def on_released(self, event):
        is_modified = event.delivery.remote_state == Delivery.MODIFIED
        self.settle(event, "modified" if is_modified else "released")

    def on_settled(self, event):
        # Without an outcome, or its answer is behind this.
        self.settle(event, "unsaid")


class Receiver(Client):
    def __init__(self, options):
        super().__init__(options, prefetch=options["window"], auto_accept=False)

    def attach(self):
        return self.container.create_receiver(self.connection, self.options["address"])

    def on_message(self, event):
        body = event.message.body
        # What came over MQTT is binary.
        name = body if isinstance(body, str) else bytes(body).decode()
        say("got", name)
        delivery, link = event.delivery, self.link
        if self.options["hold"] > 0:
            self.container.schedule(self.options["hold"], After(lambda: self.take(delivery, link, name)))
        else:
            self.take(delivery, link, name)

    def take(self, delivery, link, name):
        if self.link is not None and link == self.link:
            delivery.update(Delivery.ACCEPTED)
            delivery.settle()
            say("took", name)

    def on_end(self, event):
        self.is_ending = True
        if self.connection is None:
            self.leave()
        self.connection.close()


options = json.loads(sys.argv[1])
Container(Sender(options) if options["role"] == "sender" else Receiver(options)).run()
