# 3 makes registry
import os
os.mkdir('registry')
