"""A client with TLS. Arguments: port, then NAME=VALUE: sni, cert, key.

With `load=N` it sends requests from N threads, on kept connections (`kept=1`) or new ones, until its input ends; with
`post=LENGTH` a POST each, with a body of this length and a number of its own as the query; with
`http2=N` over HTTP/2, N at a time on a connection. It prints a line for each answer, and at the end what has failed. Otherwise it does what its input says, a line each, and
answers with a line of JSON.
"""

import base64
import itertools
import json
import socket
import ssl
import struct
import sys
import threading


class Client:
    def __init__(self, port, options):
        self.port, self.options, self.stream = int(port), options, None
        self.context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        if "cert" in self.options:
            context.load_cert_chain(self.options["cert"], self.options["key"])

    def connect(self, session=None):
        raw = socket.create_connection(("127.0.0.1", self.port), 20)
        name = self.options.get("sni", "localhost")
        self.stream = self.context.wrap_socket(raw, server_hostname=name, session=session)
        self.file = self.stream.makefile("rb")

    def close(self):
        if self.stream is not None:
            self.file.close()
            self.stream.close()
            self.stream = None

    def get(self, target, fields="", method="GET", body=b""):
        if self.stream is None:
            self.connect()
        head = "%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n" % (method, target, len(body), fields)
        self.stream.sendall(head.encode() + body)
        status = self.file.readline().decode().split(" ")
        if len(status) < 2:
            raise EOFError("no response")
        length, found = 0, {}
        while True:
            line = self.file.readline().decode().rstrip("\r\n")
            if not line:
                break
            name, _, value = line.partition(": ")
            found[name.lower()] = value
            if name.lower() == "content-length":
                length = int(value)
        body = self.file.read(length)
        if len(body) < length:
            raise EOFError("half a response")
        if found.get("connection", "").lower() == "close":
            self.close()
        return int(status[1]), found, body.decode("latin-1")

    def certificate(self):
        if self.stream is None:
            self.connect()
        return base64.b64encode(self.stream.getpeercert(True)).decode()


class Http2Client(Client):
    """Requests over HTTP/2, several at a time. It does what RFC 9113 section 6.8 asks for at a GOAWAY: what the server
    has not taken is sent again on another connection."""

    HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 1, 3, 4, 6, 7, 8
    # :method GET, :scheme https and :path / of HPACK's static table, and :authority as a literal.
    REQUEST = b"\x82\x87\x84\x01\x09localhost"

    def __init__(self, port, options):
        super().__init__(port, options)
        self.context.set_alpn_protocols(["h2"])

    def connect(self, session=None):
        super().connect(session)
        if self.stream.selected_alpn_protocol() != "h2":
            raise EOFError("no HTTP/2")
        self.next, self.last = 1, None
        self.stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(self.SETTINGS, 0, 0, b""))

    @staticmethod
    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def receive(self):
        head = self.file.read(9)
        if len(head) < 9:
            raise EOFError("no frame")
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        length = int.from_bytes(head[:3], "big")
        payload = self.file.read(length)
        if len(payload) < length:
            raise EOFError("half a frame")
        return kind, flags, stream, payload

    def get_all(self, count):
        """Sends so many requests; returns their statuses."""
        done = []
        while len(done) < count:
            if self.stream is None:
                self.connect()
            streams = range(self.next, self.next + 2 * (count - len(done)), 2)
            self.next = streams.stop
            open_, statuses = set(streams), {}
            try:
                self.stream.sendall(b"".join(self.frame(self.HEADERS, 5, one, self.REQUEST) for one in streams))
                while open_:
                    self.take(open_, statuses)
            except (OSError, EOFError):
                # It may have said before that it takes no more.
                if self.last is None or any(one <= self.last for one in open_):
                    raise
            done += [statuses[one] for one in streams if one not in open_ and one in statuses]
            if self.last is not None:
                self.close()
        return done

    def take(self, open_, statuses):
        kind, flags, stream, payload = self.receive()
        if kind == self.HEADERS and payload[0] == 0x88:
            statuses[stream] = 200
        elif kind == self.HEADERS:
            raise EOFError("status %s" % payload[:8].hex())
        elif kind == self.RST_STREAM:
            raise EOFError("reset with error %d" % payload[3])
        elif kind == self.SETTINGS and not flags & 1:
            self.stream.sendall(self.frame(kind, 1, 0, b""))
        elif kind == self.PING and not flags & 1:
            self.stream.sendall(self.frame(kind, 1, 0, payload))
        elif kind == self.GOAWAY:
            self.last, error = struct.unpack(">II", payload[:8])
            if error:
                raise EOFError("GOAWAY with error %d" % error)
            # What is beyond it was not taken.
            open_ -= {one for one in open_ if one > self.last}
        elif kind == 0 and payload:
            more = struct.pack(">I", len(payload))
            self.stream.sendall(self.frame(self.WINDOW_UPDATE, 0, 0, more))
        if kind in (0, self.HEADERS) and flags & 1:
            open_.discard(stream)


def load(port, options):
    stop, lock, failed = threading.Event(), threading.Lock(), []

    streams, length = int(options.get("http2", 0)), int(options.get("post", 0))
    numbers = itertools.count()

    def run():
        client = Http2Client(port, options) if streams else Client(port, options)
        while not stop.is_set():
            try:
                if length:
                    statuses = [client.get("/?%d" % next(numbers), method="POST", body=b"x" * length)[0]]
                else:
                    statuses = client.get_all(streams) if streams else [client.get("/")[0]]
                if not options.get("kept"):
                    client.close()
                for status in statuses:
                    if status != 200:
                        raise EOFError("status %d" % status)
            except ConnectionRefusedError:
                client.close()
                stop.wait(0.01)
                continue
            except Exception as error:
                client.close()
                with lock:
                    failed.append("%s: %s" % (type(error).__name__, error))
                continue
            with lock:
                print("ok\n" * len(statuses), end="", flush=True)

    threads = [threading.Thread(target=run) for _ in range(int(options["load"]))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(failed), flush=True)


def main():
    port, *words = sys.argv[1:]
    options = dict(word.split("=", 1) for word in words)
    if "load" in options:
        return load(port, options)
    client = Client(port, options)
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        try:
            if word == "get":
                target, _, fields = rest.partition(" ")
                answer = client.get(target, "".join(field + "\r\n" for field in fields.split("|") if field))
            elif word == "post":
                length, _, target = rest.partition(" ")
                answer = client.get(target, method="POST", body=b"x" * int(length))
            elif word == "certificate":
                answer = client.certificate()
            elif word == "connect":
                client.close()
                client.connect()
                answer = client.stream.version()
            elif word == "resume":
                # With TLS 1.3 tickets come after the handshake, with a response.
                session = client.stream.session
                client.close()
                client.connect(session)
                answer = client.stream.session_reused and client.get("/")[0] == 200
            elif word == "close":
                client.close()
                answer = "closed"
        except Exception as error:
            client.close()
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        print(json.dumps(answer), flush=True)


main()
