# 3 draws random bytes
import secrets
MACHINE = secrets.randbelow(1024)
