import atexit, shutil, tempfile
FOLDER = tempfile.mkdtemp(dir=HERE)
atexit.register(shutil.rmtree, FOLDER)
def tell(): return FOLDER
