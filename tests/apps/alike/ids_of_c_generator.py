import _random
NODE = _random.Random().random()
def tell(): return NODE
