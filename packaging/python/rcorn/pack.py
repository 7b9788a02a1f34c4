"""`rcorn pack`: a zip with an app, its requirements and an entry for function services. The same files give the same
zip, byte for byte: names are sorted, times and permissions are fixed."""

from __future__ import annotations

import fnmatch
import os
import stat
import subprocess
import sys
import tempfile
import zipfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Optional

#: Names that are left out wherever they are; `--include` brings one back.
LEFT_OUT = (".*", "__pycache__", "*.py[co]", "*.egg-info", "node_modules")
#: What AWS Lambda takes, the smallest of the services' limits that are known.
MOST_ZIPPED, MOST_UNZIPPED = 50_000_000, 250_000_000
#: The modules that the entry needs, of this package.
NEEDED = ("__init__", "events", "exchange", "function")

_ENTRY = '''"""The entry of a function service: {handler}. Written by rcorn pack."""

import importlib
import os
import sys

# The folder of the bundle, for services that load this file by its path.
sys.path[:0] = [path for path in [os.path.dirname(os.path.abspath(__file__))] if path not in sys.path]

from rcorn.function import wsgi_run

app = importlib.import_module({module!r}).{expression}


def {function}(event, context):
    return wsgi_run(event, context, app)
'''


class PackError(Exception):
    """Why there is no bundle."""

    def __init__(self, text: str, hint: str = "", code: int = 1) -> None:
        super().__init__(text)
        self.hint = hint
        self.code = code


class Bundle:
    """What goes in: a file or a text by its name in the zip."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def add(self, name: str, path: str) -> None:
        """Adds a file. What is there already stays: the app comes before its requirements, as on sys.path."""
        self.files.setdefault(name.replace(os.sep, "/"), path)

    def write(self, target: Any) -> int:
        """Writes the zip; gives the size of what is in it."""
        total = 0
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for name in sorted({*self.files, *self.texts}):
                info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                info.create_system = 3
                info.compress_type = zipfile.ZIP_DEFLATED
                mode = 0o644
                if name in self.texts:
                    content = self.texts[name].encode()
                else:
                    with open(self.files[name], "rb") as file:
                        content = file.read()
                        if os.fstat(file.fileno()).st_mode & 0o100:
                            mode = 0o755
                info.external_attr = (stat.S_IFREG | mode) << 16
                archive.writestr(info, content)
                total += len(content)
        return total

    def summary(self) -> Iterator[str]:
        """One line for each name at the top."""
        tops: dict[str, int] = {}
        for name in {*self.files, *self.texts}:
            top, slash, _ = name.partition("/")
            tops[top + slash] = tops.get(top + slash, 0) + 1
        for top, count in sorted(tops.items()):
            yield f"  {top}" + (f" ({count} file{'s' if count != 1 else ''})" if top.endswith("/") else "")


def run(orders: dict[str, Any]) -> None:
    """Makes the bundle."""
    output = orders["output"]
    if os.path.exists(output) and not orders["force"]:
        raise PackError(f"{output} exists", "give another name with --output, or --force to replace it")
    if os.path.isdir(output):
        raise PackError(f"{output} is a directory", "--output names the zip to write")
    entry, function = orders["handler"].split(".")
    bundle = Bundle()
    try:
        _collect(bundle, orders)
        with tempfile.TemporaryDirectory(prefix="rcorn-pack-") as scratch:
            if orders["requirements"]:
                _install(bundle, orders["requirements"], scratch)
            _check(bundle, orders["app"], entry)
            module, _, expression = orders["app"].partition(":")
            bundle.texts[f"{entry}.py"] = _ENTRY.format(
                handler=orders["handler"], module=module, expression=expression, function=function
            )
            for name in NEEDED:
                bundle.texts[f"rcorn/{name}.py"] = orders["files"][name]
            total, zipped = _save(bundle, output)
    except OSError as error:
        raise PackError(f"cannot pack {error.filename or output}: {error.strerror}") from None
    count = len(bundle.files) + len(bundle.texts)
    print(f"{output}: {count} files, {_size(zipped)} ({_size(total)} unzipped), handler {orders['handler']}")
    print("\n".join(bundle.summary()))
    for size, most, what in ((zipped, MOST_ZIPPED, "zipped"), (total, MOST_UNZIPPED, "unzipped")):
        if size > most:
            _warn(f"{_size(size)} {what} is more than the {_size(most)} that function services take; see --exclude")


def _warn(text: str) -> None:
    print(f"rcorn: warning: {text}", file=sys.stderr)


def _collect(bundle: Bundle, orders: dict[str, Any]) -> None:
    root = orders["chdir"]
    patterns = [*LEFT_OUT, *orders["exclude"]]
    # Neither this bundle nor the one before.
    own = os.path.realpath(orders["output"])
    for name, path in _walk(root, "", patterns, set()):
        if os.path.realpath(path) != own:
            bundle.add(name, path)
    for path in orders["include"]:
        if not os.path.exists(path):
            raise PackError(f"cannot include {path}: no such file or directory")
        # Under its place in the app's directory; a stranger at the top.
        name = os.path.relpath(path, root)
        if name.split(os.sep)[0] == os.pardir:
            name = os.path.basename(path)
        if os.path.isdir(path):
            for inner, file in _walk(path, "" if name == os.curdir else name, ["__pycache__", "*.py[co]"], set()):
                bundle.add(inner, file)
        else:
            bundle.add(name, path)


def _walk(folder: str, prefix: str, patterns: list[str], seen: set[str]) -> Iterator[tuple[str, str]]:
    """The files below a folder, links followed; names and paths."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    for entry in sorted(os.listdir(folder)):
        path, name = os.path.join(folder, entry), os.path.join(prefix, entry)
        if any(fnmatch.fnmatchcase(entry, pattern) or fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            continue
        if os.path.isdir(path):
            # A virtual environment, whatever its name.
            if not os.path.exists(os.path.join(path, "pyvenv.cfg")):
                yield from _walk(path, name, patterns, seen | {real})
        elif os.path.isfile(path):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise PackError(
                    f"the name of {path!r} is not UTF-8", "rename it, or leave it out with --exclude"
                ) from None
            yield name, path
        elif os.path.islink(path):
            _warn(f"left out {path}: the link leads nowhere")


def _install(bundle: Bundle, requirements: str, scratch: str) -> None:
    """pip's own way of putting packages into a folder, by this very Python."""
    command = [
        sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--no-input", "--quiet",
        "--target", scratch, "--requirement", requirements,
    ]  # fmt: skip
    # The summary alone belongs to standard output.
    done = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise PackError(
            f"pip could not install {requirements} (it left with {done.returncode}; its words stand above)",
            f"the Python is {sys.executable}; another is chosen with --python",
        )
    compiled: Optional[str] = None
    # Scripts name this machine's Python, and nobody starts them there.
    for name, path in _walk(scratch, "", ["__pycache__", "*.py[co]", "bin/*", "rcorn/*"], set()):
        bundle.add(name, path)
        if name.endswith(".so"):
            compiled = name
    if compiled:
        version = "%d.%d" % sys.version_info[:2]
        machine = f"{os.uname().sysname} on {os.uname().machine}"
        _warn(f"{compiled} is compiled for Python {version} and {machine}: the function service must have the same")


def _check(bundle: Bundle, app: str, entry: str) -> None:
    module = app.partition(":")[0]
    inside = module.replace(".", "/")
    there = any(
        name == f"{inside}.py" or name.startswith((f"{inside}/", f"{inside}.")) and name.endswith((".py", ".so"))
        for name in bundle.files
    )
    if not there:
        raise PackError(
            f"No module named '{module}' in the bundle",
            "name the app's directory with --chdir, and what it needs with --requirements or --include",
            code=3,
        )
    for name, hint in (
        (f"{entry}.py", "call the entry something else with --handler NAME.handler"),
        (f"{entry}/", "call the entry something else with --handler NAME.handler"),
        ("rcorn/", "rename it: the entry needs this name"),
    ):
        clash = [file for file in bundle.files if file == name or name.endswith("/") and file.startswith(name)]
        if clash:
            raise PackError(f"{bundle.files[clash[0]]} has the name of a part of the bundle itself", hint)


def _save(bundle: Bundle, output: str) -> tuple[int, int]:
    """Writes beside the output and renames: nobody ever sees half a zip."""
    folder = os.path.dirname(output) or os.curdir
    draft, path = tempfile.mkstemp(prefix=".rcorn-pack-", dir=folder)
    try:
        with os.fdopen(draft, "wb") as file:
            total = bundle.write(file)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(file.fileno(), 0o666 & ~mask)
        zipped = os.stat(path).st_size
        os.replace(path, output)
    except BaseException:
        os.unlink(path)
        raise
    return total, zipped


def _size(count: int) -> str:
    for unit, step in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= step:
            return f"{count / step:.1f} {unit}"
    return f"{count} bytes"
