# Executes a gunicorn.conf.py and tells rcorn what it defines. The callables are left here: templates and workers
# execute the file themselves.
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
            for part in ("body", "orelse", "finalbody"):
                look(getattr(node, part, None) or [])
            for handler in getattr(node, "handlers", None) or []:
                look(handler.body)

    try:
        look(ast.parse(source).body)
    except (SyntaxError, ValueError):
        pass
    return found


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
            lines = lines_of(file.read())
    except (OSError, TypeError):
        lines = {}
    answer = {"names": [[name, found(value), lines.get(name)] for name, value in list(names.items()) if not name.startswith("_")]}
except BaseException as error:
    answer = raised(error)
with open(answer_to, "w", encoding="utf-8") as file:
    json.dump(answer, file)
sys.stdout.flush()
sys.stderr.flush()
# Threads that the file started do not keep us.
os._exit(0)
