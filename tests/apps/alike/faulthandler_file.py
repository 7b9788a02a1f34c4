import faulthandler
FILE = open(HERE + '/crashes', 'w')
faulthandler.enable(FILE)
def tell(): return faulthandler.is_enabled()
