import asyncio
LOOP = asyncio.new_event_loop()
async def answer(): return 7
LOOP.run_until_complete(answer())
def tell(): return LOOP.run_until_complete(answer())
