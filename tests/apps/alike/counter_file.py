import os
with open(HERE + '/workers', 'a') as file: file.write('%d\n' % os.getpid())
def tell():
    registered = [int(line) for line in open(HERE + '/workers')]
    return len(registered), os.getpid() in registered
