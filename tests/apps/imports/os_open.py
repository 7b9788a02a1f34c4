# 3 opens lock for writing
import os
os.close(os.open('lock', os.O_CREAT | os.O_EXCL))
