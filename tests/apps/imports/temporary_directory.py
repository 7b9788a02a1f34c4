# 3 makes 
import tempfile
T = tempfile.TemporaryDirectory(dir='.')
