import atexit, os
def note(name):
    with open(HERE + '/' + name, 'a') as file: file.write('x\n')
note('imports')
atexit.register(note, 'ends')
def tell(): return 'registered'
