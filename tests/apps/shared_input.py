"""Two threads read one wsgi.input until it ends."""

import sys
import threading

READS = {
    "/read": lambda stream: stream.read(5),
    "/block": lambda stream: stream.read(1000),
    "/all": lambda stream: stream.read(),
    "/line": lambda stream: stream.readline(),
    "/lines": lambda stream: b"".join(stream.readlines(40)),
    "/next": lambda stream: next(iter(stream), b""),
}


def app(environ, start_response):
    # A thread keeps the GIL for long otherwise, and there is no race.
    sys.setswitchinterval(1e-5)
    stream, read = environ["wsgi.input"], READS[environ["PATH_INFO"]]
    counts = []

    def reader():
        total = 0
        while True:
            part = read(stream)
            if not part:
                break
            total += len(part)
        counts.append(total)

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    start_response("200 OK", [])
    return [b"%d bytes, %d ends" % (sum(counts), len(counts))]
