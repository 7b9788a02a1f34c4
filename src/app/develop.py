"""`--reload` in a process that imports the app. `develop.rs` runs this before the import."""

import os
import sys
import time
from importlib.machinery import SourceFileLoader

STANDARD_LIBRARY = os.path.dirname(os.__file__) + os.sep


def is_installed(path):
    """Whether the file belongs to Python, to an installed package or to rcorn, so that nobody edits it."""
    path += os.sep
    return (
        path.startswith((STANDARD_LIBRARY, "/proc/"))
        or os.sep + "site-packages" + os.sep in path
        or os.sep + "dist-packages" + os.sep in path
    )


def distrust_bytecode():
    """Ignores cached bytecode that may be older than its source.

    Python compares the size of the source and its modification time in seconds. Both are equal if the source was
    saved twice within a second, or if a copy restored the old time. The change time (ctime) cannot be set back. So
    bytecode is neither read nor written while its source changed in the last two seconds, and later it is read only
    if it is at least two seconds younger than the ctime of its source."""
    path_stats, get_data = SourceFileLoader.path_stats, SourceFileLoader.get_data

    def settled_at(path):
        return os.stat(path).st_ctime + 2

    def checked_path_stats(self, path):
        if time.time() < settled_at(path) and not is_installed(path):
            # After this error the import system neither reads nor writes bytecode.
            raise OSError("the source may change again")
        return path_stats(self, path)

    def checked_get_data(self, path):
        if path.endswith(".pyc") and not is_installed(self.path) and os.stat(path).st_mtime < settled_at(self.path):
            raise OSError("the bytecode may be older than its source")
        return get_data(self, path)

    SourceFileLoader.path_stats, SourceFileLoader.get_data = checked_path_stats, checked_get_data


def directories(error):
    """The directories from which code was imported, or would have been without `error`. Each is a pair: the path, and
    whether directories below it belong to it."""
    recursive, single = set(), set()
    for path in sys.path:
        recursive.add(path)
    for module in list(sys.modules.values()):
        members = getattr(module, "__dict__", None) or {}
        file = members.get("__file__")
        if isinstance(file, str):
            (recursive if "__path__" in members else single).add(os.path.dirname(file))
    for file in files_of(error):
        single.add(os.path.dirname(file))

    def watchable(paths):
        for path in sorted(paths):
            if isinstance(path, str) and os.path.isabs(path) and os.path.isdir(path) and not is_installed(path):
                yield os.path.normpath(path)

    found = {}
    for path in watchable(recursive):
        if not any(path.startswith(other + os.sep) for other in found):
            found[path] = True
    for path in watchable(single):
        if not any((path + os.sep).startswith(other + os.sep) for other in found):
            found[path] = False
    return list(found.items())


def files_of(error):
    """The files in the tracebacks of an exception and its causes, and that of a syntax error."""
    seen, waiting = set(), [error]
    while waiting:
        error = waiting.pop()
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        waiting += [error.__cause__, error.__context__]
        if isinstance(error, SyntaxError) and isinstance(error.filename, str):
            yield error.filename
        step = error.__traceback__
        while step is not None:
            yield step.tb_frame.f_code.co_filename
            step = step.tb_next
