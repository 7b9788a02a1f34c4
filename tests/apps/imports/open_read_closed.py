# boring
import pathlib
TEXT = pathlib.Path(__file__).read_text()
