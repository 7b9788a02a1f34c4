with open('/proc/self/comm', 'w') as file: file.write('mine')
def tell(): return open('/proc/self/comm').read()
