# 3 draws random bytes
import os
N = list(map(os.urandom, (1, 2)))
