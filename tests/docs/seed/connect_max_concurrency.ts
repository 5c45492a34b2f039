await connect({
  apps: [...],
  maxWorkerConcurrency: 10,
})
