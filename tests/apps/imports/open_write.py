# 2 opens out for writing
F = open('out', 'w')
