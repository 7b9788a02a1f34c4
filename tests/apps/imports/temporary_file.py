# 3 opens 
import tempfile
T = tempfile.TemporaryFile()
