# 3 makes a socket
import asyncio
L = asyncio.new_event_loop()
