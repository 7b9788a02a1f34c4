import tempfile
FOLDER = tempfile.TemporaryDirectory(dir=HERE)
def tell(): return FOLDER.name
