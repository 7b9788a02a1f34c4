"""`rcorn pack`: creates a zip with an app, its requirements and an entry point for function services. The zip is
reproducible: names are sorted, times and permissions are fixed."""

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

#: Names that are excluded everywhere, unless `--include` names them.
LEFT_OUT = (".*", "__pycache__", "*.py[co]", "*.egg-info", "node_modules")
#: The limits of AWS Lambda in bytes, the smallest of the known services.
MOST_ZIPPED, MOST_UNZIPPED = 50_000_000, 250_000_000
#: Modules of this package that the entry point needs.
NEEDED = ("__init__", "events", "exchange", "function")

_ENTRY = '''"""The entry point of a function service: {handler}. Written by rcorn pack."""

import importlib
import os
import sys

# The directory of the bundle, for services that load this file by its path.
sys.path[:0] = [path for path in [os.path.dirname(os.path.abspath(__file__))] if path not in sys.path]

from rcorn.function import wsgi_run

app = importlib.import_module({module!r}).{expression}


def {function}(event, context):
    return wsgi_run(event, context, app)
'''


class PackError(Exception):
    """The bundle cannot be created."""

    def __init__(self, text: str, hint: str = "", code: int = 1) -> None:
        super().__init__(text)
        self.hint = hint
        self.code = code


class Bundle:
    """The contents of the zip: files and texts by name."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def add(self, name: str, path: str) -> None:
        """Adds a file, unless the name exists: the app precedes its requirements, as on sys.path."""
        self.files.setdefault(name.replace(os.sep, "/"), path)

    def write(self, target: Any) -> int:
        """Writes the zip and returns the size of its contents."""
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
        """A line per top-level name."""
        tops: dict[str, int] = {}
        for name in {*self.files, *self.texts}:
            top, slash, _ = name.partition("/")
            tops[top + slash] = tops.get(top + slash, 0) + 1
        for top, count in sorted(tops.items()):
            yield f"  {top}" + (f" ({count} file{'s' if count != 1 else ''})" if top.endswith("/") else "")


def run(orders: dict[str, Any]) -> None:
    """Creates the bundle."""
    output = orders["output"]
    if os.path.exists(output) and not orders["force"]:
        raise PackError(f"{output} exists", "choose another name with --output, or replace it with --force")
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
            _warn(f"{_size(size)} {what} exceeds the limit of function services, {_size(most)}; see --exclude")


def _warn(text: str) -> None:
    print(f"rcorn: warning: {text}", file=sys.stderr)


def _collect(bundle: Bundle, orders: dict[str, Any]) -> None:
    root = orders["chdir"]
    patterns = [*LEFT_OUT, *orders["exclude"]]
    # Excludes an earlier bundle.
    own = os.path.realpath(orders["output"])
    for name, path in _walk(root, "", patterns, set()):
        if os.path.realpath(path) != own:
            bundle.add(name, path)
    for path in orders["include"]:
        if not os.path.exists(path):
            raise PackError(f"cannot include {path}: no such file or directory")
        # Keeps its place in the app's directory; a file from elsewhere goes to the top.
        name = os.path.relpath(path, root)
        if name.split(os.sep)[0] == os.pardir:
            name = os.path.basename(path)
        if os.path.isdir(path):
            for inner, file in _walk(path, "" if name == os.curdir else name, ["__pycache__", "*.py[co]"], set()):
                bundle.add(inner, file)
        else:
            bundle.add(name, path)


def _walk(folder: str, prefix: str, patterns: list[str], seen: set[str]) -> Iterator[tuple[str, str]]:
    """Names and paths of all files below a folder. Follows links."""
    real = os.path.realpath(folder)
    if real in seen:
        return
    for entry in sorted(os.listdir(folder)):
        path, name = os.path.join(folder, entry), os.path.join(prefix, entry)
        if any(fnmatch.fnmatchcase(entry, pattern) or fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            continue
        if os.path.isdir(path):
            # Skips virtual environments, whatever their names.
            if not os.path.exists(os.path.join(path, "pyvenv.cfg")):
                yield from _walk(path, name, patterns, seen | {real})
        elif os.path.isfile(path):
            try:
                name.encode()
            except UnicodeEncodeError:
                raise PackError(
                    f"the name of {path!r} is not UTF-8", "rename it, or exclude it with --exclude"
                ) from None
            yield name, path
        elif os.path.islink(path):
            _warn(f"excluded {path}: the link is broken")


def _install(bundle: Bundle, requirements: str, scratch: str) -> None:
    """Installs requirements into a folder with the pip of this Python."""
    command = [
        sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--no-input", "--quiet",
        "--target", scratch, "--requirement", requirements,
    ]  # fmt: skip
    # Standard output is for the summary only.
    done = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise PackError(
            f"pip could not install {requirements} (exit code {done.returncode}; see its messages above)",
            f"the Python is {sys.executable}; choose another with --python",
        )
    compiled: Optional[str] = None
    # Scripts refer to this machine's Python and are of no use in a bundle.
    for name, path in _walk(scratch, "", ["__pycache__", "*.py[co]", "bin/*", "rcorn/*"], set()):
        bundle.add(name, path)
        if name.endswith(".so"):
            compiled = name
    if compiled:
        version = "%d.%d" % sys.version_info[:2]
        machine = f"{os.uname().sysname} on {os.uname().machine}"
        _warn(f"{compiled} is compiled for Python {version} and {machine}; the function service must use the same")


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
            "name the directory of the app with --chdir, and what it needs with --requirements or --include",
            code=3,
        )
    for name, hint in (
        (f"{entry}.py", "choose another entry point with --handler NAME.handler"),
        (f"{entry}/", "choose another entry point with --handler NAME.handler"),
        ("rcorn/", "rename it: the entry point needs this name"),
    ):
        clash = [file for file in bundle.files if file == name or name.endswith("/") and file.startswith(name)]
        if clash:
            raise PackError(f"{bundle.files[clash[0]]} has the same name as a part of the bundle", hint)


def _save(bundle: Bundle, output: str) -> tuple[int, int]:
    """Writes the zip atomically; returns the sizes of its contents and of the file."""
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
