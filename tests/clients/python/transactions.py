"""Local transactions as a Qpid Proton program uses them.

Sends in a transaction that it aborts and in one that it commits; then takes a message and sends it on in one
transaction, twice: committed, and aborted. Says every end of a transaction, and every message that is refused.

Proton keeps back what is sent without credit, but not the end of the transaction: that would overtake the messages.
So a transaction begins once there is credit for all that is sent in it.
"""

import argparse

from proton import Message
from proton.handlers import MessagingHandler, TransactionHandler
from proton.reactor import Container

# The most messages that are sent in one transaction.
MOST = 2


class Transactions(MessagingHandler, TransactionHandler):
    def __init__(self, url, source, target):
        super().__init__(prefetch=0, auto_accept=False)
        self.url = url
        self.addresses = source, target
        self.steps = [self.send_and_abort, self.send_and_commit, self.pass_on_and_commit, self.pass_on_and_abort]
        self.taking = None

    def on_start(self, event):
        self.container = event.container
        self.connection = event.container.connect(self.url)
        self.receiver = event.container.create_receiver(self.connection, self.addresses[0])
        self.sender = event.container.create_sender(self.connection, self.addresses[1])
        self.is_declaring = True

    def on_sendable(self, event):
        if self.is_declaring:
            self.declare()

    def declare(self):
        self.is_declaring = True
        if not self.steps:
            self.connection.close()
        elif self.sender.credit >= MOST:
            self.is_declaring = False
            self.container.declare_transaction(self.connection, handler=self)

    def on_rejected(self, event):
        print("rejected", event.delivery.remote.condition, flush=True)

    def on_transaction_declared(self, event):
        self.steps.pop(0)(event.transaction)

    def send_and_abort(self, transaction):
        for body in ("a", "b"):
            transaction.send(self.sender, Message(body=body, durable=True))
        transaction.abort()

    def send_and_commit(self, transaction):
        for body in ("c", "d"):
            transaction.send(self.sender, Message(body=body, durable=True))
        transaction.commit()

    def pass_on_and_commit(self, transaction):
        self.taking = transaction, transaction.commit
        self.receiver.flow(1)

    def pass_on_and_abort(self, transaction):
        self.taking = transaction, transaction.abort
        self.receiver.flow(1)

    def on_message(self, event):
        transaction, end = self.taking
        transaction.send(self.sender, event.message)
        transaction.accept(event.delivery)
        end()

    def on_transaction_committed(self, event):
        print("committed", flush=True)
        self.declare()

    def on_transaction_aborted(self, event):
        print("aborted", flush=True)
        self.declare()

    def on_transaction_commit_failed(self, event):
        print("commit failed", flush=True)
        self.connection.close()

    def on_transaction_declare_failed(self, event):
        print("declare failed", flush=True)
        self.connection.close()


parser = argparse.ArgumentParser()
parser.add_argument("url")
parser.add_argument("source")
parser.add_argument("target")
arguments = parser.parse_args()
Container(Transactions(arguments.url, arguments.source, arguments.target)).run()
