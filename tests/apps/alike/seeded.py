import random
random.seed(7)
def tell(): return random.random()
