import secrets
MACHINE = secrets.randbelow(1 << 60)
def tell(): return MACHINE
