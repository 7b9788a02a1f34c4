"""A Bottle app: rcorn bottle_app:app"""

from bottle import Bottle, request, static_file

app = Bottle()


@app.get("/")
def index():
    return "Hello from Bottle\n"


@app.get("/hello/<name>")
def hello(name):
    return f"Hello, {name}!\n"


@app.post("/form")
def form():
    return {"got": request.forms.get("field")}


@app.get("/source")
def source():
    return static_file("bottle_app.py", root=".")
