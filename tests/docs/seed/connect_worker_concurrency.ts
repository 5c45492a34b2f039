await connect({
  apps: [{ client: inngest, functions }],
  instanceId: "example-worker",
  maxWorkerConcurrency: 10, // Max 10 concurrent steps on this worker
})
