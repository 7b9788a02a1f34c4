# 3 opens count for writing
import pathlib
with open('count', 'a') as count:
    count.write('x')
