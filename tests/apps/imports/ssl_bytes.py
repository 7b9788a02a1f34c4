# 3 draws random bytes
import ssl
ID = ssl.RAND_bytes(8)
