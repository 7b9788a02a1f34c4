"""An app can be an object with __call__, created by a factory: rcorn 'callable_object:create("Hi", mark="!")'"""


class Greeter:
    def __init__(self, greeting, mark):
        self.body = f"{greeting}{mark}\n".encode()

    def __call__(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [self.body]


def create(greeting="Hello", mark="."):
    return Greeter(greeting, mark)


app = create()
