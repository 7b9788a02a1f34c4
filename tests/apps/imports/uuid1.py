# 3 makes a UUID
import uuid
ID = uuid.uuid1()
