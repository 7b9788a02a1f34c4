# 3 opens /dev/random
import os
os.close(os.open('/dev/random', os.O_RDONLY))
