# What an import leaves in Python's own objects that forked workers would share or repeat.
import atexit
import gc
import sys

# Whose functions remove files.
REMOVERS = {"nt", "os", "pathlib", "posix", "shutil", "tempfile"}


def _removes(function):
    function = getattr(function, "func", function)
    module = getattr(function, "__module__", None)
    return isinstance(module, str) and module.partition(".")[0] in REMOVERS


def _name(function):
    function = getattr(function, "func", function)
    return getattr(function, "__qualname__", None) or type(function).__qualname__


class Watch:
    """Sees what is registered for the end of the process, until it is asked."""

    def __init__(self):
        self._removers = []
        self._register = atexit.register
        atexit.register = self._note

    def _note(self, function, *args, **named):
        if _removes(function):
            self._removers.append(function)
        return self._register(function, *args, **named)

    def found(self):
        """What there is, in words for the log."""
        if atexit.register == self._note:
            atexit.register = self._register
        # A worker that leaves would remove them for all.
        finalize = getattr(sys.modules.get("weakref"), "finalize", None)
        finalizers = getattr(finalize, "_registry", {}).values()
        removers = self._removers + [one.func for one in finalizers if one.atexit and _removes(one.func)]
        found = ["files that are removed at exit (by %s)" % name for name in sorted(set(map(_name, removers)))]
        if _generators():
            found.append("a random.Random (its numbers would repeat in every worker)")
        return found


def _generators():
    """How many generators of random numbers there are that a fork would double."""
    random = sys.modules.get("random")
    if random is None:
        return 0
    # These two get a new seed in each process.
    names = getattr(sys.modules.get("tempfile"), "_name_sequence", None)
    known = {id(getattr(random, "_inst", None)), id(getattr(names, "_rng", None))}
    kinds, more = set(), [random.Random]
    while more:
        kind = more.pop()
        if kind is not random.SystemRandom and kind not in kinds:
            kinds.add(kind)
            more.extend(kind.__subclasses__())
    # By its type alone: to ask an object for its class may run code of the app.
    return sum(type(one) in kinds and id(one) not in known for one in gc.get_objects())
