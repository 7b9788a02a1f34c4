# 2 opens out for writing
with open('out', 'w') as f:
    f.write('x')
