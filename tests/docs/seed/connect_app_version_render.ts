// Render includes the RENDER_GIT_COMMIT env var at build and runtime.
// https://render.com/docs-markdown/environment-variables
const inngest = new Inngest({
  id: 'my-app',
  appVersion: process.env.RENDER_GIT_COMMIT,
})
