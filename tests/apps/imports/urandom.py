# 3 draws random bytes
import os
ID = os.urandom(8)
