# 3 opens 
import tempfile
tempfile.mkstemp(dir='.')
