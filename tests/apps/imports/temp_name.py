# 3 makes a random name
import tempfile
SOCKET = tempfile.mktemp()
