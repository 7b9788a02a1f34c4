# 3 draws random bytes
import uuid
ID = uuid.uuid4()
