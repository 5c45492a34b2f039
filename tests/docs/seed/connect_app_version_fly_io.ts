// Fly includes a machine version env var at runtime.
// https://fly.io/docs-markdown/machines/runtime-environment/
const inngest = new Inngest({
  id: 'my-app',
  appVersion: process.env.FLY_MACHINE_VERSION,
})
