# 3 draws random bytes
import uuid
def handler(id=uuid.uuid4()):
    pass
