# 6 opens urandom, which gives random numbers
import os
back = os.getcwd()
os.chdir('/dev')
try:
    open('urandom', 'rb').read(4)
finally:
    os.chdir(back)
