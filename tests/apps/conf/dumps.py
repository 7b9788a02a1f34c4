# Stacks of all threads when a worker is interrupted or aborted.
import sys
import threading
import traceback

timeout = 1
graceful_timeout = 5


def dump(worker):
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    code = []
    for number, stack in sys._current_frames().items():
        code.append("\n# Thread: %s(%d)" % (names.get(number, ""), number))
        for filename, line, name, text in traceback.extract_stack(stack):
            code.append('File: "%s", line %d, in %s' % (filename, line, name))
    worker.log.info("\n".join(code))


def worker_int(worker):
    worker.log.info("worker received INT or QUIT signal")
    dump(worker)


def worker_abort(worker):
    worker.log.info("worker received SIGABRT signal")
    dump(worker)
