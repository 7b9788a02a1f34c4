import uuid
NODE = uuid.uuid4(), uuid.uuid1()
def tell(): return NODE
