import os, sys
os.chdir('/')
sys.path.insert(0, '/opt')
def tell(): return os.getcwd(), sys.path[0]
