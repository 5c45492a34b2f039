import { connect, ConnectionState } from "inngest/connect";
import { inngest, functions } from "./src/inngest";

const connection = await connect({
  apps: [{ client: inngest, functions }],
});

console.log("Worker: connected", connection);

// Start a basic web server that only listens for the /ready endpoint
// and returns a 200 status code when the connection to Inngest is active.
const server = Bun.serve({
  port: 8080,
  routes: {
    "/ready": async () => {
      return connection.state === ConnectionState.ACTIVE
        ? new Response("OK")
        : new Response("Not Ready", { status: 500 });
    },
  },
  fetch(req) {
    return new Response("Not Found", { status: 404 });
  },
});

console.log("Worker: HTTP server listening on port 8080");

// When the Inngest connection has gracefully closed,
// this will resolve and the app will exit.
await connection.closed;
console.log("Worker: Shut down");

// Stop the HTTP server
await server.stop();
