import os, weakref
class Registered: pass
ONE = Registered()
def gone():
    with open(HERE + '/gone', 'a') as file: file.write('x\n')
weakref.finalize(ONE, gone)
def tell(): return 'registered'
