# 5 draws random bytes
import dataclasses, os, uuid
@dataclasses.dataclass
class Config:
    node: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
CONFIG = Config()
