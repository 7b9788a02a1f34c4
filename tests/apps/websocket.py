"""flask-sock: what a client sends comes back."""

import flask
import flask_sock
import simple_websocket

app = flask.Flask(__name__)
sock = flask_sock.Sock(app)


@sock.route("/flask")
def echo(ws):
    while True:
        data = ws.receive()
        if data == "close":
            ws.close(1000, "as asked")
            return
        if data == "return":
            return
        ws.send("said: " + data)


@app.route("/simple", websocket=True)
def simple():
    ws = simple_websocket.Server.accept(flask.request.environ)
    try:
        while True:
            ws.send("said: " + ws.receive())
    except simple_websocket.ConnectionClosed:
        # The library answers in its own thread, and tells us before it has: the connection ends with this request.
        ws.thread.join()
    return ""


@app.route("/plain")
def plain():
    return "plain"
