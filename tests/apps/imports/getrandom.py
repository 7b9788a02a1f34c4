# 3 draws random bytes
import os
ID = os.getrandom(8)
