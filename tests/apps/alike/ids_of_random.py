import random
MACHINE = random.random()
def tell(): return MACHINE
