"""What `--reload` adds to a process that loads the app. Run before the app is imported, by `develop.rs`."""

import os
import sys
import time
from importlib.machinery import SourceFileLoader

STANDARD = os.path.dirname(os.__file__) + os.sep


def is_installed(path):
    """Part of Python, of an installation by pip or a distribution, or of rcorn: nobody edits it."""
    path += os.sep
    return (
        path.startswith((STANDARD, "/proc/"))
        or os.sep + "site-packages" + os.sep in path
        or os.sep + "dist-packages" + os.sep in path
    )


def distrust_bytecode():
    """Cached bytecode belongs to a source by its size and the second it was written in: of two saves within one
    second it may be the first's, and a copy may bring an old time along. What cannot be set back is the time of
    change (ctime). So no bytecode is kept of a source that changed in the last two seconds, and none is believed
    that is not two seconds younger; all other is used as ever."""
    path_stats, get_data = SourceFileLoader.path_stats, SourceFileLoader.get_data

    def settled(path):
        return os.stat(path).st_ctime + 2

    def stats(self, path):
        if time.time() < settled(path) and not is_installed(path):
            # The import system then neither reads nor writes bytecode.
            raise OSError("the source may change again")
        return path_stats(self, path)

    def data(self, path):
        if path.endswith(".pyc") and not is_installed(self.path) and os.stat(path).st_mtime < settled(self.path):
            raise OSError("made before the source had settled")
        return get_data(self, path)

    SourceFileLoader.path_stats, SourceFileLoader.get_data = stats, data


def places(error):
    """Where code was loaded from, or was to be: directories, and whether those below them belong to it."""
    whole, single = set(), set()
    for path in sys.path:
        whole.add(path)
    for module in list(sys.modules.values()):
        members = getattr(module, "__dict__", None) or {}
        file = members.get("__file__")
        if isinstance(file, str):
            (whole if "__path__" in members else single).add(os.path.dirname(file))
    for file in files(error):
        single.add(os.path.dirname(file))

    def sound(paths):
        for path in sorted(paths):
            if isinstance(path, str) and os.path.isabs(path) and os.path.isdir(path) and not is_installed(path):
                yield os.path.normpath(path)

    found = {}
    for path in sound(whole):
        if not any(path.startswith(other + os.sep) for other in found):
            found[path] = True
    for path in sound(single):
        if not any((path + os.sep).startswith(other + os.sep) for other in found):
            found[path] = False
    return list(found.items())


def files(error):
    """The files that an exception and its causes name."""
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
