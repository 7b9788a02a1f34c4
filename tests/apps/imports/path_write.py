# 3 opens pid for writing
import pathlib
pathlib.Path('pid').write_text('1')
