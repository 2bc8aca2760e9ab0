"""Jobs and news from different channels, whichever comes first, until there is nothing more."""

# [readme]
import asyncio

from klaw_core.runtime.channels import channel, select, select_all


async def main() -> None:
    """Take what comes, by its channel; then all the rest."""
    jobs_tx, jobs = await channel[int](10)
    news_tx, news = await channel[str](10)
    await jobs_tx.send(41)
    await news_tx.send("klaw selects")
    for _ in range(2):
        match await select(jobs, news, timeout=1.0):  # TimeoutError if neither is ready in time
            case (0, job):
                print("job", job + 1)
            case (1, headline):
                print("news", headline.upper())

    await jobs_tx.send(2)
    await news_tx.send("that was all")
    await jobs_tx.close()
    await news_tx.close()
    async with jobs, news:
        # Drops those that ended, and stops after the last.
        async for index, value in select_all(jobs, news):
            print(index, value)


asyncio.run(main())
# [/readme]
