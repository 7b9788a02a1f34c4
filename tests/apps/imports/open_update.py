# 2 opens m.py for writing
F = open('m.py', 'r+')
