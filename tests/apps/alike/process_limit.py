import resource
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
def tell(): return resource.getrlimit(resource.RLIMIT_NPROC)
