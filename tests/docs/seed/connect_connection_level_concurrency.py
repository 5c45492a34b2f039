# Connection 1 with different concurrency limit
asyncio.run(
    connect(
        apps=[(client, functions)],
        instance_id="worker-1-conn-1",
        max_worker_concurrency=50,
    ).start()
)

# Connection 2 with different concurrency limit
asyncio.run(
    connect(
        apps=[(client, functions)],
        instance_id="worker-1-conn-2",
        max_worker_concurrency=20,
    ).start()
)
