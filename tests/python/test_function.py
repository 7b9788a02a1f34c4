"""Events in, environs and response objects out: the shapes of examples/function and their corners."""

import base64
import contextlib
import copy
import io
import json
import os
import pathlib
import sys
import unittest
from wsgiref.validate import validator

from rcorn import events
from rcorn.function import Context, UnknownEvent, wsgi_run

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples" / "function"
SHAPES = {
    "aws-rest-v1": events.V1,
    "aws-http-v2": events.V2,
    "aws-function-url": events.V2,
    "aws-alb": events.ALB,
    "aws-alb-multi": events.ALB_MULTI,
    "jd-gateway": events.JD,
}


def event(name):
    return json.loads((EXAMPLES / f"{name}.json").read_text(encoding="utf-8"))


def environ_of(of, **arguments):
    """The environ an app sees, with its body under the key `body`."""
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        seen["body"] = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b""]

    response = wsgi_run(of, None, validator_of(app), **arguments)
    assert response["statusCode"] == 200, response
    return seen


def validator_of(app):
    """wsgiref's validator wants read() to have a size."""

    def sized(environ, start_response):
        source = environ["wsgi.input"]

        class Sized:
            def read(self):
                return source.read(1 << 20)

        return app({**environ, "wsgi.input": Sized()}, start_response)

    checked = validator(sized)

    def plain(environ, start_response):
        return checked(environ, start_response)

    return plain


def answering(headers, body=b"", status="200 OK"):
    def app(environ, start_response):
        start_response(status, headers)
        return [body]

    return app


def quietly(*arguments, **keywords):
    with contextlib.redirect_stderr(io.StringIO()) as said:
        return wsgi_run(*arguments, **keywords), said.getvalue()


class Requests(unittest.TestCase):
    def test_every_example_is_known_by_its_shape(self):
        self.assertEqual({path.stem for path in EXAMPLES.glob("*.json")}, set(SHAPES))
        for name, shape in SHAPES.items():
            self.assertEqual(events.shape(event(name)), shape, name)

    def test_what_all_examples_have_in_common(self):
        for name in SHAPES:
            with self.subTest(name):
                environ = environ_of(event(name))
                self.assertEqual(environ["PATH_INFO"].encode("latin-1").decode(), "/greet/caf\xe9")
                self.assertIn("name=Zo%C3%AB+%26+Co", environ["QUERY_STRING"])
                self.assertEqual(environ["REMOTE_ADDR"], "203.0.113.7")
                self.assertIn("b=2", environ["HTTP_COOKIE"])
                self.assertEqual(
                    environ["wsgi.url_scheme"], "https" if "alb" not in name and "jd" not in name else "http"
                )
                self.assertEqual(environ["SERVER_PORT"], "80" if environ["wsgi.url_scheme"] == "http" else "443")
                self.assertTrue(environ["RAW_URI"].endswith("/greet/caf%C3%A9?" + environ["QUERY_STRING"]))
                for key in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "RAW_URI"):
                    environ[key].encode("latin-1")

    def test_repeated_fields_and_parameters(self):
        for name in SHAPES:
            with self.subTest(name):
                environ = environ_of(event(name))
                self.assertEqual(environ["HTTP_X_TAG"], "one,two")
                self.assertEqual(environ["HTTP_COOKIE"], "a=1; b=2")
                single = name in ("aws-alb", "jd-gateway")
                self.assertTrue(environ["QUERY_STRING"].endswith("&tag=b" if single else "&tag=a&tag=b"))

    def test_stages_are_the_script_name(self):
        for name in SHAPES:
            with self.subTest(name):
                expected = "/prod" if name in ("aws-rest-v1", "aws-http-v2") else ""
                self.assertEqual(environ_of(event(name))["SCRIPT_NAME"], expected)

    def test_bodies(self):
        self.assertEqual(environ_of(event("aws-rest-v1"))["body"], b"color=red")
        binary = environ_of(event("aws-http-v2"))
        self.assertEqual((binary["body"], binary["CONTENT_LENGTH"]), (b"\0\xff\xfe\x80", "4"))
        self.assertEqual(binary["CONTENT_TYPE"], "application/octet-stream")
        text = environ_of(event("jd-gateway"))
        self.assertEqual((text["body"].decode(), text["CONTENT_LENGTH"]), ("gr\xfc\xdfe", "7"))
        self.assertNotIn("CONTENT_LENGTH", environ_of(event("aws-function-url")))

    def test_a_body_that_is_not_base64_is_a_bad_request(self):
        broken = event("aws-http-v2")
        broken["body"] = "not base64!"
        response, said = quietly(broken, None, answering([]))
        self.assertEqual(response["statusCode"], 400)
        self.assertIn("not base64", said)

    def test_event_and_context_are_handed_on_as_they_are(self):
        one, context, seen = event("aws-alb"), Context(function_name="shop"), {}

        def app(environ, start_response):
            seen.update(environ)
            start_response("200 OK", [])
            return []

        wsgi_run(one, context, app)
        self.assertIs(seen["function.event"], one)
        self.assertIs(seen["function.context"], context)
        self.assertEqual(context.function_name, "shop")
        with self.assertRaises(AttributeError):
            context.nothing

    def test_names_with_underscores_or_of_no_form_are_dropped(self):
        one = event("aws-http-v2")
        one["headers"].update({"x_tag": "twin", "content_length": "9", "bad name": "x", "x-caf\xe9": "x"})
        environ = environ_of(one)
        self.assertEqual((environ["HTTP_X_TAG"], environ["CONTENT_LENGTH"]), ("one,two", "4"))
        self.assertFalse([key for key in environ if "NAME" in key and key.startswith("HTTP_") or "CAF" in key])

    def test_values_beyond_latin1_are_their_bytes(self):
        one = event("aws-alb")
        one["headers"]["x-word"] = "\u4eac"
        self.assertEqual(environ_of(one)["HTTP_X_WORD"].encode("latin-1").decode(), "\u4eac")

    def test_maps_may_be_missing_or_null(self):
        one = {"httpMethod": "GET", "path": "/", "headers": None, "queryStringParameters": None, "body": None}
        environ = environ_of(one)
        self.assertEqual((environ["PATH_INFO"], environ["QUERY_STRING"], environ["body"]), ("/", "", b""))
        self.assertEqual((environ["SERVER_NAME"], environ["REMOTE_ADDR"]), ("localhost", ""))


class BasePaths(unittest.TestCase):
    def split(self, one, **arguments):
        environ = environ_of(one, **arguments)
        return environ["SCRIPT_NAME"], environ["PATH_INFO"]

    def rest(self, path, asked, resource="/{proxy+}", proxy="x", domain="api.example.com"):
        one = event("aws-rest-v1")
        one.update(path=path, resource=resource, pathParameters={"proxy": proxy, "id": proxy})
        one["requestContext"].update(path=asked, domainName=domain)
        return one

    def test_rest_stage(self):
        self.assertEqual(self.split(self.rest("/", "/prod", resource="/")), ("/prod", "/"))
        self.assertEqual(self.split(self.rest("/", "/prod/", resource="/")), ("/prod", "/"))
        self.assertEqual(self.split(self.rest("/prod/x", "/prod/prod/x", proxy="prod/x")), ("/prod", "/prod/x"))

    def test_rest_mapping_of_a_domain(self):
        self.assertEqual(self.split(self.rest("/v1/x", "/v1/x")), ("/v1", "/x"))
        self.assertEqual(self.split(self.rest("/v1/u/5", "/v1/u/5", resource="/u/{id}", proxy="5")), ("/v1", "/u/5"))
        self.assertEqual(self.split(self.rest("/x", "/x")), ("", "/x"))
        self.assertEqual(self.split(self.rest("/v1/a%20b", "/v1/a%20b", proxy="a b")), ("/v1", "/a b"))

    def test_http_api_stage_only_under_the_gateways_own_domain(self):
        one = event("aws-http-v2")
        one["rawPath"] = "/prod"
        self.assertEqual(self.split(one), ("/prod", ""))
        one["rawPath"] = "/production"
        self.assertEqual(self.split(one), ("", "/production"))
        one["requestContext"]["domainName"] = "api.example.com"
        one["rawPath"] = "/prod/x"
        self.assertEqual(self.split(one), ("", "/prod/x"))
        one.update(routeKey="ANY /{proxy+}", pathParameters={"proxy": "x"})
        self.assertEqual(self.split(one), ("/prod", "/x"))

    def test_payload_1_of_an_http_api_is_decoded_already(self):
        one = event("aws-rest-v1")
        one.update(version="1.0", path="/prod/100%25", resource="$default", pathParameters=None)
        one["requestContext"]["path"] = one["path"]
        self.assertEqual(self.split(one), ("/prod", "/100%25"))

    def test_http_apis_decode_and_function_urls_do_not(self):
        one = event("aws-http-v2")
        one["rawPath"] = "/prod/a%20b?c"
        environ = environ_of(one)
        self.assertEqual(environ["PATH_INFO"], "/a%20b?c")
        self.assertTrue(environ["RAW_URI"].startswith("/prod/a%2520b%3Fc?"))
        url = event("aws-function-url")
        url["rawPath"] = "/a%20b%2Fc"
        self.assertEqual(environ_of(url)["PATH_INFO"], "/a b/c")

    def test_a_base_path_that_is_said(self):
        one = event("aws-alb")
        one["path"] = "/shop/cart"
        self.assertEqual(self.split(one, base_path="/shop"), ("/shop", "/cart"))
        self.assertEqual(self.split(one, base_path="shop/"), ("/shop", "/cart"))
        self.assertEqual(self.split(one, base_path="/sho"), ("", "/shop/cart"))
        self.assertEqual(self.split(one, base_path="/"), ("", "/shop/cart"))
        os.environ["SCRIPT_NAME"] = "/shop"
        self.addCleanup(os.environ.pop, "SCRIPT_NAME")
        self.assertEqual(self.split(one), ("/shop", "/cart"))


class Peers(unittest.TestCase):
    def test_a_balancer_is_believed_what_it_appended(self):
        for said, expected in (
            ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
            ("203.0.113.7:4711", "203.0.113.7"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ):
            one = event("aws-alb")
            one["headers"]["x-forwarded-for"] = said
            self.assertEqual(environ_of(one)["REMOTE_ADDR"], expected)


class Responses(unittest.TestCase):
    def test_repeated_fields_in_each_shape(self):
        app = answering([("X-A", "1"), ("Set-Cookie", "a=1"), ("x-a", "2"), ("Set-Cookie", "b=2, c"), ("X-B", "3")])
        said = {name: wsgi_run(event(name), None, app) for name in SHAPES}
        for name in ("aws-http-v2", "aws-function-url"):
            self.assertEqual(said[name]["headers"], {"X-A": "1, 2", "X-B": "3"})
            self.assertEqual(said[name]["cookies"], ["a=1", "b=2, c"])
            self.assertNotIn("multiValueHeaders", said[name])
        self.assertEqual(said["aws-rest-v1"]["headers"], {"X-B": "3"})
        self.assertEqual(said["aws-rest-v1"]["multiValueHeaders"], {"X-A": ["1", "2"], "Set-Cookie": ["a=1", "b=2, c"]})
        self.assertEqual(
            said["aws-alb-multi"]["multiValueHeaders"],
            {"X-A": ["1", "2"], "Set-Cookie": ["a=1", "b=2, c"], "X-B": ["3"]},
        )
        self.assertNotIn("headers", said["aws-alb-multi"])
        for name in ("aws-alb", "jd-gateway"):
            self.assertEqual(
                said[name]["headers"], {"X-A": "1, 2", "X-B": "3", "Set-Cookie": "a=1", "set-Cookie": "b=2, c"}
            )

    def test_status_and_description(self):
        app = answering([], status="404 Not Here")
        self.assertEqual(wsgi_run(event("aws-alb"), None, app)["statusDescription"], "404 Not Here")
        response = wsgi_run(event("aws-rest-v1"), None, app)
        self.assertEqual(response["statusCode"], 404)
        self.assertNotIn("statusDescription", response)

    def test_which_bodies_are_text(self):
        def encoded(kind, body, more=()):
            headers = ([("Content-Type", kind)] if kind else []) + list(more)
            response = wsgi_run(event("aws-http-v2"), None, answering(headers, body))
            got = response["body"]
            back = base64.b64decode(got) if response["isBase64Encoded"] else got.encode()
            self.assertEqual(back, body)
            return response["isBase64Encoded"]

        for kind in ("text/html; charset=utf-8", "TEXT/Plain", "application/json", "application/problem+json",
                     "image/svg+xml", "application/javascript", "application/x-www-form-urlencoded", ""):  # fmt: skip
            self.assertFalse(encoded(kind, "gr\xfc\xdfe".encode()), kind)
        for kind in ("image/png", "application/octet-stream", "application/pdf", "font/woff2"):
            self.assertTrue(encoded(kind, b"plain ascii"), kind)
        self.assertTrue(encoded("text/html; charset=iso-8859-1", "gr\xfc\xdfe".encode("latin-1")))
        self.assertTrue(encoded("text/html", b"\x1f\x8b\x08", [("Content-Encoding", "gzip")]))
        self.assertFalse(encoded("text/html", b"x", [("content-encoding", "identity")]))
        self.assertFalse(encoded("image/png", b""))

    def test_an_app_that_raises_gives_500_and_its_own_traceback(self):
        def app(environ, start_response):
            start_response("200 OK", [])(b"half")
            raise ValueError("mine")

        for name in SHAPES:
            response, said = quietly(event(name), None, app)
            self.assertEqual((response["statusCode"], response["body"]), (500, "Internal Server Error\n"))
            self.assertIn("rcorn: error: the app failed\nTraceback", said)
            self.assertIn("ValueError: mine", said)
            self.assertNotIn("exchange.py", said)

    def test_sys_exit_gives_500(self):
        response, said = quietly(event("aws-alb"), None, lambda environ, start: sys.exit("on purpose"))
        self.assertEqual(response["statusCode"], 500)
        self.assertIn("SystemExit: on purpose", said)

    def test_responses_are_json(self):
        for name in SHAPES:
            json.dumps(wsgi_run(event(name), None, answering([("X", "caf\xe9")], b"\xff")))


class Unknown(unittest.TestCase):
    def test_it_says_what_was_looked_for(self):
        for one in (None, [], "text", {}, {"Records": []}, {"version": "2.0"}, {"detail": {"path": "/"}}):
            with self.assertRaises(UnknownEvent) as raised:
                wsgi_run(one, None, answering([]))
            for word in ("requestContext.elb", "requestContext.http", "detail", "httpMethod"):
                self.assertIn(word, str(raised.exception))
        with self.assertRaises(UnknownEvent) as raised:
            wsgi_run({"Records": [], "b": 1}, None, answering([]))
        self.assertIn("its keys are Records, b;", str(raised.exception))

    def test_the_event_is_not_changed(self):
        for name in SHAPES:
            one = event(name)
            before = copy.deepcopy(one)
            wsgi_run(one, None, answering([]))
            self.assertEqual(one, before)


if __name__ == "__main__":
    unittest.main()
