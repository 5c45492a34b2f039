// Fly includes the FLY_MACHINE_ID env var at runtime.
// https://fly.io/docs-markdown/machines/runtime-environment/
await connect({
  apps: [...],
  instanceId: process.env.FLY_MACHINE_ID,
})
