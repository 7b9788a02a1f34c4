"""An app can be a class whose instances are the body; each part is sent once it is yielded: rcorn iterator_class:Countdown"""


class Countdown:
    def __init__(self, environ, start_response):
        self.start_response = start_response

    def __iter__(self):
        self.start_response("200 OK", [("Content-Type", "text/plain")])
        for number in (3, 2, 1):
            yield f"{number}\n".encode()

    def close(self):
        """Called by the server at the end of the response, however it ended."""
