// If you're using Github Actions to build your app, you can set the
// app version to the GITHUB_SHA environment variable during build time
// or inject into the build of a Docker image.
const inngest = new Inngest({
  id: 'my-app',
  appVersion: process.env.GITHUB_SHA,
})
