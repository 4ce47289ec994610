"""Receives a number of messages and prints them, the way a first Qpid Proton program does."""

import argparse

from proton.handlers import MessagingHandler
from proton.reactor import Container


class Recv(MessagingHandler):
    def __init__(self, url, count):
        super().__init__()
        self.url = url
        self.expected = count
        self.received = 0

    def on_start(self, event):
        event.container.create_receiver(self.url)

    def on_link_opened(self, event):
        print("ready", flush=True)

    def on_message(self, event):
        self.received += 1
        print(event.message.body, flush=True)
        if self.received == self.expected:
            event.receiver.close()
            event.connection.close()


parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("count", type=int)
arguments = parser.parse_args()
Container(Recv(arguments.url, arguments.count)).run()
