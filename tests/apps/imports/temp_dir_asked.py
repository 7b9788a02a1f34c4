# boring
import tempfile
T = tempfile.gettempdir()
