# Finds Python objects left by the import of the app that make forking unsafe: forked workers would share or repeat
# what they do.
import atexit
import gc
import sys

# Modules whose functions remove files.
FILE_MODULES = {"nt", "os", "pathlib", "posix", "shutil", "tempfile"}


def _removes(function):
    function = getattr(function, "func", function)
    module = getattr(function, "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] in FILE_MODULES


def _name(function):
    function = getattr(function, "func", function)
    return getattr(function, "__qualname__", None) or type(function).__qualname__


class Watch:
    """Records functions that remove files at exit, from its creation until found() is called."""

    def __init__(self):
        self._removers = []
        self._register = atexit.register
        atexit.register = self._note

    def _note(self, function, *args, **named):
        if _removes(function):
            self._removers.append(function)
        return self._register(function, *args, **named)

    def found(self):
        """What makes forking unsafe, as phrases for the log."""
        if atexit.register == self._note:
            atexit.register = self._register
        # The first worker that exits would remove the files of all workers.
        finalize = getattr(sys.modules.get("weakref"), "finalize", None)
        finalizers = getattr(finalize, "_registry", {}).values()
        removers = self._removers + [one.func for one in finalizers if one.atexit and _removes(one.func)]
        found = ["files that are removed at exit (by %s)" % name for name in sorted(set(map(_name, removers)))]
        if _generators():
            found.append("a random.Random (its numbers would repeat in every worker)")
        return found


def _generators():
    """How many random number generators there are that a fork would copy."""
    random = sys.modules.get("random")
    if random is None:
        return 0
    # Python gives these two a new seed after a fork.
    names = getattr(sys.modules.get("tempfile"), "_name_sequence", None)
    known = {id(getattr(random, "_inst", None)), id(getattr(names, "_rng", None))}
    kinds, more = set(), [random.Random]
    while more:
        kind = more.pop()
        if kind is not random.SystemRandom and kind not in kinds:
            kinds.add(kind)
            more.extend(kind.__subclasses__())
    # type() instead of isinstance(): reading __class__ may run code of the app.
    return sum(type(one) in kinds and id(one) not in known for one in gc.get_objects())
