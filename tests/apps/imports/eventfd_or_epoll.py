# left
import select
E = select.epoll()
