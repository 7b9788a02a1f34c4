# limited the number of processes
import resource
resource.setrlimit(resource.RLIMIT_NPROC, (9999, resource.getrlimit(resource.RLIMIT_NPROC)[1]))
