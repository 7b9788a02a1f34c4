# 3 opens ready for writing
import pathlib
pathlib.Path('ready').touch()
