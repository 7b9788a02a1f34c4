"""PEP 3333, clause by clause, over a transport that remembers."""

import io
import sys
import unittest

from rcorn import exchange


class Remembered:
    lost = False

    def __init__(self):
        self.said = []

    def start(self, status, headers, length):
        self.said.append((status, headers, length))

    def send(self, part):
        self.said.append(part)

    def finish(self):
        self.said.append("end")


class Body:
    def __init__(self, parts):
        self.parts, self.closed = parts, 0

    def __iter__(self):
        return iter(self.parts)

    def close(self):
        self.closed += 1


def call(app, method="GET"):
    """What the transport was told, what was raised, and what was written to wsgi.errors."""
    transport, errors = Remembered(), io.StringIO()
    environ = exchange.standard({"REQUEST_METHOD": method}, errors=errors, run_once=True)
    raised = None
    try:
        exchange.serve(app, environ, transport)
    except Exception as error:
        raised = error
    return transport.said, raised, errors.getvalue()


def simple(result, status="200 OK", headers=()):
    def app(environ, start_response):
        start_response(status, list(headers))
        return result

    return app


class Responses(unittest.TestCase):
    def test_a_status_without_a_reason(self):
        said, _, _ = call(simple([], "202"))
        self.assertEqual(said[0], ("202 ", [], 0))

    def test_a_list_is_sent_with_its_length(self):
        said, raised, _ = call(simple([b"ab", b"", b"c"]))
        self.assertEqual(said, [("200 OK", [], 3), b"ab", b"c", "end"])
        self.assertIsNone(raised)

    def test_an_iterator_is_sent_part_by_part_and_the_head_with_the_first(self):
        order = []

        def parts():
            order.append("empty")
            yield b""
            order.append("first")
            yield b"a"
            order.append("second")
            yield b"b"

        transport = Remembered()
        transport.start = lambda *head: order.append("head")
        transport.send = order.append
        environ = exchange.standard({"REQUEST_METHOD": "GET"}, errors=io.StringIO(), run_once=True)
        exchange.serve(simple(parts()), environ, transport)
        self.assertEqual(order, ["empty", "first", "head", b"a", "second", b"b"])

    def test_start_response_may_come_with_the_first_part(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            yield b"late"

        self.assertEqual(call(app)[0][1:], [b"late", "end"])

    def test_write_comes_before_what_is_returned(self):
        def app(environ, start_response):
            write = start_response("200 OK", [])
            write(b"one")
            write(b"")
            return [b"two"]

        self.assertEqual(call(app)[0], [("200 OK", [], None), b"one", b"two", "end"])

    def test_head_and_bodyless_statuses_send_no_body(self):
        self.assertEqual(call(simple([b"x"], headers=[("Content-Length", "1")]), "HEAD")[0][1:], ["end"])
        for status in ("204 No Content", "205 Reset", "304 Not Modified"):
            self.assertEqual(call(simple([b"x"], status))[0], [(status, [], None), "end"], status)
        said, _, _ = call(simple([], "204 No Content", [("Content-Length", "0")]))
        self.assertEqual(said[0][1], [])

    def test_hop_by_hop_fields_are_dropped(self):
        said, _, _ = call(simple([], headers=[("Connection", "close"), ("TE", "x"), ("X-Mine", "1")]))
        self.assertEqual(said[0][1], [("X-Mine", "1")])

    def test_more_than_declared_is_cut_and_told(self):
        said, raised, errors = call(simple(iter([b"abc", b"def"]), headers=[("Content-Length", "4")]))
        self.assertEqual(said[1:], [b"abc", b"d", "end"])
        self.assertIsNone(raised)
        self.assertIn("declared Content-Length: 4 but gave 2 bytes more", errors)

    def test_less_than_declared_raises(self):
        _, raised, _ = call(simple([b"abc"], headers=[("Content-Length", "4")]))
        self.assertIn("declared Content-Length: 4 but gave 1 bytes less", str(raised))

    def test_old_sequences_are_iterables(self):
        class Old:
            def __getitem__(self, index):
                return [b"a", b"b"][index]

        self.assertEqual(call(simple(Old()))[0][1:], [b"a", b"b", "end"])


class Closing(unittest.TestCase):
    def closed(self, parts, method="GET"):
        body = Body(parts)
        call(simple(body), method)
        return body.closed

    def test_close_is_called_once_on_every_path(self):
        def torn():
            yield b"a"
            raise ValueError

        self.assertEqual(self.closed([b"a"]), 1)
        self.assertEqual(self.closed([b"a"], "HEAD"), 1)
        self.assertEqual(self.closed(torn()), 1)
        self.assertEqual(self.closed(["text"]), 1)

    def test_close_is_called_when_the_client_is_gone(self):
        body = Body([b"a", b"b"])
        transport = Remembered()

        def gone(part):
            raise BrokenPipeError

        transport.send = gone
        environ = exchange.standard({"REQUEST_METHOD": "GET"}, errors=io.StringIO(), run_once=True)
        with self.assertRaises(BrokenPipeError):
            exchange.serve(simple(body), environ, transport)
        self.assertEqual(body.closed, 1)

    def test_what_close_raises_is_told_and_the_response_is_whole(self):
        body = Body([b"a"])
        body.close = lambda: 1 / 0
        said, raised, errors = call(simple(body))
        self.assertEqual(said[-1], "end")
        self.assertIsNone(raised)
        self.assertIn("ZeroDivisionError", errors)

    def test_write_in_close_is_too_late(self):
        kept = []

        class Late(Body):
            def close(self):
                kept[0](b"behind the end")

        def app(environ, start_response):
            kept.append(start_response("200 OK", []))
            return Late([b"a"])

        said, _, errors = call(app)
        self.assertEqual(said[1:], [b"a", "end"])
        self.assertIn("after its request had ended", errors)


class ExcInfo(unittest.TestCase):
    def test_it_replaces_what_was_declared(self):
        def app(environ, start_response):
            start_response("200 OK", [("X-Old", "1")])
            try:
                raise ValueError
            except ValueError:
                start_response("500 Sorry", [("X-New", "1")], sys.exc_info())
            return [b"sorry"]

        self.assertEqual(call(app)[0][0], ("500 Sorry", [("X-New", "1")], 5))

    def test_once_the_head_is_out_the_apps_exception_goes_on(self):
        def app(environ, start_response):
            start_response("200 OK", [])(b"sent")
            try:
                raise KeyError("mine")
            except KeyError:
                start_response("500 Sorry", [], sys.exc_info())

        self.assertIsInstance(call(app)[1], KeyError)

    def test_without_it_a_second_call_is_a_mistake(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            start_response("200 OK", [])

        self.assertIn("second time without exc_info", str(call(app)[1]))

    def test_what_was_half_declared_is_not_sent(self):
        def app(environ, start_response):
            start_response("200 OK", [("X-Old", "1")])
            try:
                start_response("500 Sorry", [("X-Bad", "a\nb")], (ValueError, ValueError(), None))
            except ValueError:
                pass
            return [b"x"]

        said, raised, _ = call(app)
        self.assertEqual(said, [])
        self.assertIn("without calling start_response", str(raised))


class Mistakes(unittest.TestCase):
    def refused(self, app, kind, *words):
        said, raised, _ = call(app)
        self.assertEqual(said, [])
        self.assertIsInstance(raised, kind)
        for word in words:
            self.assertIn(word, str(raised))

    def test_statuses(self):
        self.refused(simple([], b"200 OK"), TypeError, "'bytes'")
        for status in ("OK", "20", "2000 x", "99 x", "100 Continue", "600 x", "200 a\r\nX: y", "200 \u20ac", "٢٠٠ x"):
            self.refused(simple([], status), ValueError, "bad status")

    def test_headers(self):
        def with_headers(headers):
            def app(environ, start_response):
                start_response("200 OK", headers)
                return []

            return app

        for headers in ({"X": "y"}, (("X", "y"),), [["X", "y"]], [("X", 5)], [("X", b"y")], [("X", "y", "z")]):
            self.refused(with_headers(headers), TypeError, "header")
        for name, value in (
            ("X Bad", "a"), ("", "a"), ("X:", "a"), ("X\xe9", "a"),
            ("X", "a\r\nSet-Cookie: b"), ("X", "a\nb"), ("X", "a\0"), ("X", "a\x7f"), ("X", "\u20ac"),
            ("Content-Length", "many"), ("Content-Length", "-1"), ("Content-Length", ""), ("Content-Length", "٣"),
        ):  # fmt: skip
            self.refused(with_headers([(name, value)]), ValueError, "bad header")
        self.refused(with_headers([("Content-Length", "1"), ("content-length", "2")]), ValueError, "twice")

    def test_latin1_and_tabs_are_fine(self):
        said, _, _ = call(simple([], headers=[("X-Name", "caf\xe9\tx")]))
        self.assertEqual(said[0][1], [("X-Name", "caf\xe9\tx")])

    def test_results(self):
        for result, words in (
            ("text", "text.encode"), (None, "missing 'return'"), ({"a": 1}, "json.dumps"), (b"x", "[body]"), (5, "int"),
        ):  # fmt: skip
            self.refused(simple(result), TypeError, "it must return an iterable of bytes", words)
        self.refused(simple([b"a", "b"]), TypeError, "'str' as item 1", "text.encode")
        self.refused(simple([bytearray(b"a")]), TypeError, "'bytearray' as item 0")

    def test_a_body_without_a_head(self):
        self.refused(lambda environ, start_response: [b"x"], AssertionError, "without calling start_response")
        self.refused(lambda environ, start_response: [], AssertionError, "without calling start_response")
        self.refused(lambda environ, start_response: iter([b"x"]), AssertionError, "before it called start_response")

    def test_write_takes_bytes(self):
        def app(environ, start_response):
            start_response("200 OK", [])("text")

        self.refused(app, TypeError, "write() takes one bytes object, not 'str'")

    def test_it_is_over_when_it_is_over(self):
        kept = []

        def app(environ, start_response):
            kept.extend([start_response, start_response("200 OK", [])])
            return []

        call(app)
        with self.assertRaises(AssertionError):
            kept[0]("200 OK", [])
        with self.assertRaises(AssertionError):
            kept[1](b"x")


if __name__ == "__main__":
    unittest.main()
