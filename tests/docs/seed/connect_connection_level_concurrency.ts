// Connection 1 with different concurrency limit
await connect({
  apps: [{ client: inngest, functions }],
  instanceId: "worker-1-conn-1",
  maxWorkerConcurrency: 50,
})

// Connection 2 with different concurrency limit
await connect({
  apps: [{ client: inngest, functions }],
  instanceId: "worker-1-conn-2",
  maxWorkerConcurrency: 20,
})
