# 4 removes d
import os, shutil
os.path.isdir('d') or os.mkdir('d')
shutil.rmtree('d')
