# 3 draws a random number
import _random
NUMBER = _random.Random().random()
