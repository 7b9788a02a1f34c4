# 4 opens noise, which gives random numbers
import os
os.symlink('/dev/urandom', 'noise')
open('noise', 'rb').read(4)
