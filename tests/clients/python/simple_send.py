"""Sends a number of messages and waits for their confirmation, the way a first Qpid Proton program does."""

import argparse

from proton import Message
from proton.handlers import MessagingHandler
from proton.reactor import Container


class Send(MessagingHandler):
    def __init__(self, url, count):
        super().__init__()
        self.url = url
        self.total = count
        self.sent = 0
        self.confirmed = 0

    def on_start(self, event):
        event.container.create_sender(self.url)

    def on_link_opened(self, event):
        print("ready", flush=True)

    def on_sendable(self, event):
        while event.sender.credit and self.sent < self.total:
            event.sender.send(Message(id=self.sent + 1, body={"sequence": self.sent + 1}))
            self.sent += 1

    def on_accepted(self, event):
        self.confirmed += 1
        if self.confirmed == self.total:
            print("all confirmed", flush=True)
            event.connection.close()

    def on_disconnected(self, event):
        self.sent = self.confirmed


parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("count", type=int)
arguments = parser.parse_args()
Container(Send(arguments.url, arguments.count)).run()
