# 2 opens /dev/urandom
with open('/dev/urandom', 'rb') as f:
    ID = f.read(8)
