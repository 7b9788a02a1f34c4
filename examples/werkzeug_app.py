"""An app with Werkzeug's request and response objects: rcorn werkzeug_app:app"""

from werkzeug.wrappers import Request, Response


@Request.application
def app(request):
    if request.method == "POST":
        return Response(f"{len(request.get_data())} bytes\n", mimetype="text/plain")
    return Response(f"Hello, {request.args.get('name', 'world')}!\n", mimetype="text/plain")
