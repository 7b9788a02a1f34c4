# boring
import collections, dataclasses, decimal, enum, functools, json, re, typing, urllib.parse, http.client, email, xml.etree.ElementTree, concurrent.futures, asyncio, ssl, sqlite3, multiprocessing, unittest.mock, importlib.metadata
@dataclasses.dataclass
class A:
    x: int = 0
B = collections.namedtuple('B', 'x y')
