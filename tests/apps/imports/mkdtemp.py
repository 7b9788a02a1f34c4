# 3 makes 
import atexit, shutil, tempfile
D = tempfile.mkdtemp(dir='.')
atexit.register(shutil.rmtree, D)
