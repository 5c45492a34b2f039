// instanceId defaults to the HOSTNAME environment variable.
// By default, Kubernetes and Docker set the HOSTNAME environment variable to the pod name
// so it is automatically set for you.
await connect({
  apps: [...],
  // This is what happens under the hood if you don't set instanceId
  // instanceId: process.env.HOSTNAME,
})
