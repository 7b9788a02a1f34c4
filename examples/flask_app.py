"""A Flask app: rcorn -w 4 flask_app:app"""

import io

from flask import Flask, jsonify, request, send_file

app = Flask(__name__)


@app.get("/")
def index():
    return "Hello from Flask\n"


@app.post("/json")
def echo():
    return jsonify(request.get_json())


@app.post("/upload")
def upload():
    file = request.files["file"]
    return {"name": file.filename, "size": len(file.read())}


@app.get("/stream")
def stream():
    return (f"{number}\n" for number in range(5)), {"Content-Type": "text/plain"}


@app.get("/download")
def download():
    return send_file(io.BytesIO(b"from memory"), download_name="memory.txt")
