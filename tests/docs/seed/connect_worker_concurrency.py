asyncio.run(
    connect(
        apps=[(client, functions)],
        instance_id="example-worker",
        max_worker_concurrency=10,  # Max 10 concurrent steps
    ).start()
)
