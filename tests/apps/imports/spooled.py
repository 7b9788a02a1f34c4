# 4 makes a random name
import tempfile
F = tempfile.SpooledTemporaryFile()
N = tempfile.mktemp(dir='.')
