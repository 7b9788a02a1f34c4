import os, pathlib
REGISTRY = pathlib.Path(HERE, 'registry')
REGISTRY.mkdir(exist_ok=True)
(REGISTRY / str(os.getpid())).touch()
def tell(): return len(list(REGISTRY.iterdir())), (REGISTRY / str(os.getpid())).exists()
