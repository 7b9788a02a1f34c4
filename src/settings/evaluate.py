# Executes a gunicorn.conf.py and tells rcorn what it defines, and whether the file has an effect on the process that
# executes it. If it has, or defines hooks, each template executes it, too.
import ast, importlib, inspect, json, os, sys, traceback

answer_to, kind, place = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.argv = sys.argv[4:] or [""]


def lines_of(source):
    """The last line at which each name is bound, outside of functions and classes."""
    found = {}

    def look(body):
        for node in body:
            targets = []
            if isinstance(node, ast.Assign):
                targets = node.targets
            elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
                targets = [node.target]
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found[node.name] = node.lineno
                continue
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    found[alias.asname or alias.name.split(".")[0]] = node.lineno
            for target in targets:
                for leaf in ast.walk(target):
                    if isinstance(leaf, ast.Name):
                        found[leaf.id] = node.lineno
                    if isinstance(leaf, ast.Attribute) and isinstance(leaf.value, ast.Name):
                        found[leaf.value.id + "." + leaf.attr] = node.lineno
            for part in ("body", "orelse", "finalbody"):
                look(getattr(node, part, None) or [])
            for handler in getattr(node, "handlers", None) or []:
                look(handler.body)

    try:
        look(ast.parse(source).body)
    except (SyntaxError, ValueError):
        pass
    return found


# Modules whose import changes nothing that an app could notice.
MODULES = set("""__future__ collections configparser datetime functools glob hashlib itertools json logging math
multiprocessing os os.path pathlib platform re shutil socket string subprocess sys tempfile time typing""".split())

# Functions that have no effect on the process. Effects on files or on the terminal are no reason to execute the file
# twice.
FUNCTIONS = set("""abs all any bool bytes dict divmod enumerate filter float format int isinstance len list map max min
next open pow print range repr reversed round set sorted str sum tuple zip
AssertionError Exception KeyError OSError RuntimeError TypeError ValueError
json.dump json.dumps json.load json.loads multiprocessing.cpu_count os.access os.cpu_count os.environ.get os.environ.items
os.environ.keys os.getcwd os.getenv os.getpid os.getuid os.listdir os.makedirs os.mkdir os.remove os.rename
os.sched_getaffinity os.stat os.uname os.unlink pathlib.Path shutil.rmtree socket.gethostname socket.getfqdn
subprocess.check_output subprocess.run tempfile.gettempdir time.strftime time.time""".split())
FUNCTION_MODULES = ("datetime.", "math.", "os.path.", "platform.", "re.")

# Methods that change their object, which may belong to the interpreter, as os.environ does.
CHANGES = set("""add append clear discard extend insert pop popitem remove setdefault sort update""".split())

STATEMENTS = (
    ast.AnnAssign, ast.Assert, ast.Assign, ast.AugAssign, ast.Break, ast.Continue, ast.Expr, ast.For, ast.FunctionDef,
    ast.If, ast.Import, ast.ImportFrom, ast.Pass, ast.Raise, ast.Return, ast.Try, ast.While, ast.With,
)


class Plain:
    """Finds out whether a file has no effect on the process that executes it. In doubt it has one."""

    def __init__(self, tree):
        self.imported, self.own, self.containers, self.parameters = {}, set(), set(), set()
        for node in ast.walk(tree):
            self.learn(node)
        for node in ast.walk(tree):
            self.learn_alias(node)
        self.result = all(self.allowed(node) for node in ast.walk(tree))

    def learn(self, node):
        if isinstance(node, ast.Import):
            for alias in node.names:
                self.imported[alias.asname or alias.name.split(".")[0]] = alias.name if alias.asname else alias.name.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                self.imported[alias.asname or alias.name] = "%s.%s" % (node.module, alias.name)
        elif isinstance(node, ast.FunctionDef):
            self.own.add(node.name)
        elif isinstance(node, ast.arg):
            self.parameters.add(node.arg)
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp)):
            self.containers.update(target.id for target in node.targets if isinstance(target, ast.Name))

    def learn_alias(self, node):
        """`e = os.environ` is the same object by another name."""
        if isinstance(node, ast.Assign) and self.is_imported(node.value):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    self.imported[target.id] = self.dotted(node.value) or "?"

    def dotted(self, node):
        """The name of an imported object or of a builtin, or None."""
        if isinstance(node, ast.Attribute):
            root = self.dotted(node.value)
            return root and "%s.%s" % (root, node.attr)
        return self.imported.get(node.id, node.id) if isinstance(node, ast.Name) else None

    def is_imported(self, node):
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.imported

    def is_container(self, node):
        return isinstance(node, ast.Name) and node.id in self.containers and node.id not in self.imported

    def allowed(self, node):
        if isinstance(node, ast.stmt) and not isinstance(node, STATEMENTS):
            return False
        if isinstance(node, ast.FunctionDef) and node.decorator_list:
            return False
        if isinstance(node, ast.Import):
            return all(alias.name in MODULES for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            return not node.level and node.module in MODULES
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            return node.target.id not in self.imported and node.target.id not in self.parameters
        if isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            return isinstance(node, ast.Subscript) and self.is_container(node.value)
        if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom)):
            return False
        return not isinstance(node, ast.Call) or self.may_call(node.func)

    def may_call(self, function):
        if isinstance(function, ast.Name) and function.id in self.own:
            return True
        name = self.dotted(function)
        if isinstance(function, ast.Name) or self.is_imported(function):
            return name in FUNCTIONS or bool(name) and name.startswith(FUNCTION_MODULES)
        if not isinstance(function, ast.Attribute) or function.attr.startswith("_"):
            return False
        return function.attr not in CHANGES or self.is_container(function.value)


def is_plain(source):
    try:
        return kind == "file" and Plain(ast.parse(source)).result
    except (SyntaxError, ValueError, RecursionError):
        return False


def plain(value):
    """The value as JSON has it, or TypeError."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise TypeError
        return float(value)
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    raise TypeError


def found(value):
    if inspect.isclass(value):
        return {"data": value.__module__ + "." + value.__qualname__}
    if inspect.ismodule(value):
        return {"live": "a module"}
    try:
        return {"data": plain(value)}
    except (TypeError, ValueError, RecursionError):
        pass
    if not callable(value):
        return {"live": "an object of type " + type(value).__name__}
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return {"function": [0, 1000]}
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    least = sum(p.default is p.empty for p in positional)
    if any(p.kind == p.KEYWORD_ONLY and p.default is p.empty for p in parameters):
        return {"function": [1000, 0]}
    return {"function": [least, 1000 if any(p.kind == p.VAR_POSITIONAL for p in parameters) else len(positional)]}


def evaluate():
    if kind == "module":
        module = importlib.import_module(place)
        return vars(module), getattr(module, "__file__", None)
    # Bytes: the file itself says how it is encoded.
    with open(place, "rb") as file:
        code = compile(file.read(), place, "exec")
    names = {"__builtins__": __builtins__, "__name__": "__config__", "__file__": place, "__doc__": None, "__package__": None}
    sys.modules.setdefault("__config__", type(sys)("__config__"))
    exec(code, names)
    return names, place


def worker_bases(value):
    """The classes that the worker class is based on, the nearest first; of one that is named by a text and cannot be
    imported there are none."""
    if isinstance(value, str):
        module, _, name = value.rpartition(".")
        # Those of gunicorn are known by their names.
        if not module or module.startswith("gunicorn."):
            return []
        try:
            value = getattr(importlib.import_module(module), name)
        except Exception:
            return []
    if not inspect.isclass(value):
        return []
    return [base.__module__ + "." + base.__qualname__ for base in value.__mro__[1:]]


def server_names():
    """What the file has made of gunicorn's name, which has no effect here."""
    gunicorn = sys.modules.get("gunicorn")
    usual = {"SERVER": "gunicorn", "SERVER_SOFTWARE": "gunicorn/%s" % getattr(gunicorn, "__version__", None)}
    for name, value in usual.items():
        value = getattr(gunicorn, name, value)
        if value != usual[name]:
            yield "gunicorn." + name, {"data": str(value)}, lines.get("gunicorn." + name)


def raised(error):
    frames = traceback.extract_tb(error.__traceback__)
    own = [number for number, frame in enumerate(frames) if frame.filename == "<string>"]
    frames = frames[max(own, default=-1) + 1:]
    frames = [frame for frame in frames if not frame.filename.startswith("<frozen importlib")]
    lines = traceback.format_exception_only(type(error), error)
    if frames:
        lines = ["Traceback (most recent call last):\n"] + traceback.format_list(frames) + lines
    at = [frame.lineno for frame in frames if frame.filename == place]
    if isinstance(error, SyntaxError) and error.filename == place:
        at = [error.lineno]
    text = traceback.format_exception_only(type(error), error)[-1].strip()
    return {"raised": {"text": text, "traceback": "".join(lines), "line": at[-1] if at else None}}


try:
    names, source = evaluate()
    try:
        with open(source, "rb") as file:
            text = file.read()
    except (OSError, TypeError):
        text = b""
    lines = lines_of(text)
    answer = {"plain": is_plain(text), "names": [[name, found(value), lines.get(name)] for name, value in list(names.items()) if not name.startswith("_")]}
    answer["names"] += server_names()
    answer["worker_bases"] = worker_bases(names.get("worker_class"))
except BaseException as error:
    answer = raised(error)
with open(answer_to, "w", encoding="utf-8") as file:
    json.dump(answer, file)
sys.stdout.flush()
sys.stderr.flush()
# Threads that the file started do not keep us.
os._exit(0)
