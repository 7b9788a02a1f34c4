# boring
import importlib.resources, json, pathlib
HERE = pathlib.Path(__file__).resolve().parent
ALL = sorted(p.name for p in HERE.iterdir())
