# Calls a function as soon as a module has been imported, without importing it (when_imported.rs).
import _thread
import sys


class Finder:
    """Calls a function when a module has been imported. Until then it stays: who looks the module up need not import
    it."""

    def __init__(self, name, then, entry):
        self.name = name
        self.then = then
        # What stands for it in `sys.meta_path`.
        self.entry = entry
        # The threads that look it up: another finder may ask all finders, too.
        self.searching = set()

    def find_spec(self, name, path=None, target=None):
        thread = _thread.get_ident()
        if name != self.name or self.then is None or thread in self.searching:
            return None
        self.searching.add(thread)
        try:
            for finder in list(sys.meta_path):
                # Python itself passes over a finder without it.
                find_spec = getattr(finder, "find_spec", None)
                spec = find_spec(name, path, target) if find_spec else None
                if spec is not None:
                    spec.loader = Loader(spec.loader, self.imported)
                    return spec
            return None
        finally:
            self.searching.discard(thread)

    def imported(self, module):
        """Called when a module of this name has been executed: perhaps a copy that is not for all."""
        if sys.modules.get(self.name) is not module:
            return
        then, self.then = self.then, None
        if self.entry in sys.meta_path:
            sys.meta_path.remove(self.entry)
        if then is not None:
            then()


class Loader:
    """The loader of a module, and a function to call with the module when it is done."""

    def __init__(self, loader, then):
        self.loader = loader
        self.then = then

    def __getattr__(self, name):
        # Whoever only looks the module up may ask the loader for its source.
        if name == "loader":
            raise AttributeError(name)
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.then(module)
