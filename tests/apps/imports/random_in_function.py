# 4 draws random bytes
import secrets
def make():
    return secrets.token_hex(8)
KEY = make()
