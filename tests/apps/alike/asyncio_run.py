import asyncio
async def answer(): return 7
SEVEN = asyncio.run(answer())
def tell(): return asyncio.run(answer()) == SEVEN
