# 3 draws
import string, random
TOKEN = ''.join(random.SystemRandom().choices(string.ascii_letters, k=8))
