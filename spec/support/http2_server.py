"""A server of HTTP/2 with TLS that can be told to misbehave.

    python3 http2_server.py CERTIFICATE KEY LOG OPTIONS

OPTIONS is JSON, each of them may be left out:

    streams      how many a connection may have at once (100)
    handshake    seconds until it begins with TLS, on each connection
    when         so many requests have come over the first connection: then it
                 sends GOAWAY, which accepts the first `accept` of them (0)
    hang_up      it closes the connection behind that, with nothing finished
    reset        the first stream of the first connection is reset instead
    pause        seconds between two pieces of an answer (0.01)
    pieces       of an answer (4)

An answer is a stream of events whose text says the last prompt, a piece of
it in each event. Writes the port to stdout, and to LOG a line for whatever
happens: `open CONNECTION`, `request CONNECTION STREAM PROMPT`,
`answered CONNECTION STREAM`, `goaway CONNECTION LAST_STREAM`. Ends when stdin
does.
"""

import json
import socket
import ssl
import sys
import threading
import time

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from hyperframe.frame import GoAwayFrame, RstStreamFrame, SettingsFrame

REFUSED_STREAM = 7
TICK = 0.005


class Log:
    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")
        self.lock = threading.Lock()

    def write(self, *words):
        with self.lock:
            self.file.write(" ".join(str(word) for word in words) + "\n")
            self.file.flush()


class Connection:
    def __init__(self, number, sock, options, log):
        self.number = number
        self.sock = sock
        self.options = options
        self.log = log
        self.bodies = {}
        self.requests = []      # streams, in the order of their ends
        self.answers = {}       # stream: pieces left
        self.next_piece = {}    # stream: when
        self.is_leaving = False
        # streams have odd numbers
        self.last_accepted = 2 ** 31 - 1
        if number == 1 and "when" in options:
            self.last_accepted = max(0, 2 * options.get("accept", 0) - 1)
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.limit = options.get("streams", 100)
        self.open = set()

    def flush(self, more=b""):
        self.sock.sendall(self.h2.data_to_send() + more)

    def run(self):
        self.h2.initiate_connection()
        # by hand: h2 would end the connection when it is not kept to
        self.flush(SettingsFrame(
            0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: self.limit}).serialize())
        self.sock.settimeout(TICK)
        while True:
            try:
                data = self.sock.recv(65536)
                if not data:
                    return
                self.read(data)
            except (socket.timeout, ssl.SSLWantReadError):
                pass
            self.answer_more()
            if self.is_leaving and self.options.get("hang_up"):
                return

    def read(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, RequestReceived):
                self.open.add(event.stream_id)
                if len(self.open) > self.limit:
                    self.refuse(event.stream_id)
                else:
                    self.bodies[event.stream_id] = b""
            elif getattr(event, "stream_id", 0) not in self.bodies:
                continue
            elif isinstance(event, DataReceived):
                self.bodies[event.stream_id] += event.data
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self.take(event.stream_id)
            elif isinstance(event, StreamReset):
                self.open.discard(event.stream_id)
                self.answers.pop(event.stream_id, None)
        self.flush()

    def refuse(self, stream):
        self.log.write("refused", self.number, stream)
        self.open.discard(stream)
        self.flush(RstStreamFrame(stream, error_code=REFUSED_STREAM).serialize())

    def take(self, stream):
        prompt = json.loads(self.bodies[stream])["messages"][-1]["content"]
        self.log.write("request", self.number, stream, prompt)
        self.requests.append(stream)
        if self.number == 1 and self.options.get("reset") and len(self.requests) == 1:
            self.refuse(stream)
            return
        if stream <= self.last_accepted:
            self.begin(stream, prompt)
        if self.number == 1 and len(self.requests) == self.options.get("when"):
            self.leave()

    def begin(self, stream, prompt):
        count = self.options.get("pieces", 4)
        size = -(-len(prompt) // count)
        pieces = [prompt[i * size:(i + 1) * size] for i in range(count)]
        self.answers[stream] = [
            'data: {"choices":[{"index":0,"delta":{"content":%s}}]}\n\n' % json.dumps(piece)
            for piece in pieces
        ] + ['data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
             "data: [DONE]\n\n"]
        self.h2.send_headers(stream, [(":status", "200"), ("content-type", "text/event-stream")])
        self.next_piece[stream] = time.monotonic()

    def leave(self):
        """Sends GOAWAY by hand: h2 would send nothing any more behind it."""
        self.log.write("goaway", self.number, self.last_accepted)
        self.is_leaving = True
        self.flush(GoAwayFrame(0, last_stream_id=self.last_accepted, error_code=0).serialize())

    def answer_more(self):
        # the accepted ones are in the middle of their answers when it leaves
        waits = self.number == 1 and "when" in self.options and not self.is_leaving
        for stream, pieces in list(self.answers.items()):
            if time.monotonic() < self.next_piece[stream] or (waits and len(pieces) == 2):
                continue
            piece = pieces.pop(0)
            self.h2.send_data(stream, piece.encode(), end_stream=not pieces)
            self.next_piece[stream] = time.monotonic() + self.options.get("pause", 0.01)
            if not pieces:
                del self.answers[stream]
                self.open.discard(stream)
                self.log.write("answered", self.number, stream)
        self.flush()


def serve(number, sock, context, options, log):
    try:
        time.sleep(options.get("handshake", 0))
        with context.wrap_socket(sock, server_side=True) as secure:
            log.write("open", number)
            Connection(number, secure, options, log).run()
    except (OSError, ssl.SSLError):
        pass


def main():
    certificate, key, path, options = sys.argv[1:]
    options, log = json.loads(options), Log(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)

    def accept():
        number = 0
        while True:
            sock, _ = listener.accept()
            number += 1
            threading.Thread(target=serve, args=(number, sock, context, options, log),
                             daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


main()
