// Render includes the RENDER_INSTANCE_ID env var at runtime.
// https://render.com/docs-markdown/environment-variables
await connect({
  apps: [...],
  instanceId: process.env.RENDER_INSTANCE_ID,
})
