"""What an app declares is made of objects whose code uses the exchange itself, from this thread and from another."""

import threading


def ask_again(start_response):
    """Calls start_response from here, and from a thread that this one waits for."""

    def call():
        try:
            start_response("500 Nested", [])
        except AssertionError:
            pass

    call()
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return "said"


def kinds(start_response):
    class Text(str):
        def __str__(self):
            return ask_again(start_response)

        __repr__ = __str__

        def __del__(self):
            ask_again(start_response)

    class Pair(tuple):
        def __repr__(self):
            return ask_again(start_response)

    class Meta(type):
        def __getattribute__(cls, name):
            if name == "__qualname__":
                return ask_again(start_response)
            return super().__getattribute__(name)

    class Odd(metaclass=Meta):
        pass

    return {
        # Refused.
        "/status-type": lambda: start_response(Odd(), []),
        "/status": lambda: start_response(Text("two hundred"), []),
        "/fields": lambda: start_response("200 OK", Odd()),
        "/field": lambda: start_response("200 OK", [Pair((1, 2, 3))]),
        "/name": lambda: start_response("200 OK", [(Text("a b"), "c")]),
        "/value": lambda: start_response("200 OK", [(Text("a"), Text("b\n"))]),
        # Good; the texts are gone when the next request replaces what is remembered of them.
        "/good": lambda: start_response(Text("200 Fine"), [(Text("X-Text"), Text("1"))]),
    }


def app(environ, start_response):
    path = environ["PATH_INFO"]
    try:
        kinds(start_response)[path]()
        body = b"taken"
    except (TypeError, ValueError) as error:
        body = str(error).encode()
        # The error is the declaration's; what the nested calls declared may stand.
        try:
            start_response("200 OK", [], (type(error), error, None))
        except BaseException as late:
            body += b" " + repr(late).encode()
    return [body]
