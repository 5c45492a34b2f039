import { createServer } from "http";
import { connect, ConnectionState } from "inngest/connect";
import { inngest, functions } from "./src/inngest";

(async () => {
  const connection = await connect({
    apps: [{ client: inngest, functions }],
  });

  console.log("Worker: connected", connection);

  // This is a basic web server that only listens for the /ready endpoint
  // and returns a 200 status code when the connection to Inngest is active.
  const httpServer = createServer((req, res) => {
    if (req.url === "/ready") {
      if (connection.state === ConnectionState.ACTIVE) {
        res.writeHead(200, { "Content-Type": "text/plain" });
        res.end("OK");
      } else {
        res.writeHead(500, { "Content-Type": "text/plain" });
        res.end("NOT OK");
      }
      return;
    }
    res.writeHead(404, { "Content-Type": "text/plain" });
    res.end("NOT FOUND");
  });

  // Start the server on a port of your choice
  httpServer.listen(8080, () => {
    console.log("Worker: HTTP server listening on port 8080");
  });

  // When the Inngest connection has gracefully closed,
  // this will resolve and the app will exit.
  await connection.closed;
  console.log("Worker: Shut down");

  // Stop the HTTP server
  httpServer.close();
})();
