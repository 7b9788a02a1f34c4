# 3 opens 
import tempfile
T = tempfile.NamedTemporaryFile(dir='.')
