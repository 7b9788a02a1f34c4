"""A client with TLS. Arguments: port, then NAME=VALUE: sni, cert, key.

With `load=N` it sends requests from N threads, on kept connections (`kept=1`) or new ones, until its input ends. It
prints a line for each answer, and at the end what has failed. Otherwise it does what its input says, a line each, and
answers with a line of JSON.
"""

import base64
import json
import socket
import ssl
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


def load(port, options):
    stop, lock, failed = threading.Event(), threading.Lock(), []

    def run():
        client = Client(port, options)
        while not stop.is_set():
            try:
                status = client.get("/")[0]
                if not options.get("kept"):
                    client.close()
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
                print("ok", flush=True)

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
