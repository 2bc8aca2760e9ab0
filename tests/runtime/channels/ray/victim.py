"""A process to be killed: sends or receives on the channel of a broker, and says what it has done.

    victim.py send FIRST ENDPOINT      sends (name, FIRST), (name, FIRST + 1)...; prints each once send() has returned
    victim.py receive ENDPOINT         receives for ever; prints each once recv() has returned it
    victim.py acked ENDPOINT           likewise, and settles none of them; keeps them beyond the channel's end

It knows nothing of Ray, so it starts in a moment. ENDPOINT is what the actor's get_endpoint() gives, pickled, as hex.
"""

import pickle
import signal
import sys
import threading

from klaw_core import _core
from klaw_core.runtime.errors import ChannelClosedError


def connect(endpoint):
    def answer():
        while True:
            lookup, _ = _core.next_lookup(-1)
            _core.answer_lookup(
                lookup,
                endpoint["channel"],
                endpoint["secret"],
                endpoint["unix_path"],
                endpoint["addresses"],
            )

    threading.Thread(target=answer, daemon=True).start()
    return _core.RemoteChannel("victim", None, "victim", None, node="", prefetch=0)


def main():
    what, *rest, pickled = sys.argv[1:]
    channel = connect(pickle.loads(bytes.fromhex(pickled)))
    if what == "send":
        tx = _core.RemoteSender(channel)
        number = int(rest[0])
        while True:
            tx.blocking_send(number)
            print(number, flush=True)
            number += 1
    elif what == "acked":
        rx = _core.RemoteReceiver(channel)
        held = []
        try:
            while True:
                held.append(rx.blocking_recv_acked())
                print(held[-1].value, flush=True)
        except ChannelClosedError:  # what it holds itself does not keep its end back
            signal.pause()
    else:
        rx = _core.RemoteReceiver(channel)
        while True:
            print(rx.blocking_recv(), flush=True)


main()
