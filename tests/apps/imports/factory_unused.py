# boring
import dataclasses, uuid
@dataclasses.dataclass
class Event:
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
def make():
    return Event()
