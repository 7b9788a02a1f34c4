# boring
import uuid
ID = uuid.uuid5(uuid.NAMESPACE_DNS, 'example.org')
