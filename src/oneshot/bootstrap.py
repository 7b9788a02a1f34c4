# Run by `python3 -c`: takes the orders and rcorn's own Python modules from a descriptor and carries them out.
# Must be understood by every Python, so that the old ones can be told.
import sys

if sys.version_info < (3, 9):
    sys.stderr.write(
        "rcorn: error: %s is Python %d.%d\n  hint: rcorn needs Python 3.9 or later; choose another with --python\n"
        % ((sys.executable,) + sys.version_info[:2])
    )
    sys.exit(1)

import json
from importlib.machinery import ModuleSpec


class Embedded:
    """Finds and loads the modules that came with the orders, under a name that is nobody's."""

    @staticmethod
    def source(name):
        package, _, module = name.partition(".")
        return orders["files"].get(module or "__init__") if package == "_rcorn" else None

    def find_spec(self, name, path=None, target=None):
        if self.source(name) is not None:
            return ModuleSpec(name, self, origin="rcorn", is_package=name == "_rcorn")

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__name__
        exec(compile(self.source(name), "<%s>" % name, "exec", dont_inherit=True), module.__dict__)


with open(int(sys.argv[1]), "rb") as file:
    orders = json.loads(file.read())
sys.meta_path.insert(0, Embedded())
from _rcorn.oneshot import run

sys.exit(run(orders))
