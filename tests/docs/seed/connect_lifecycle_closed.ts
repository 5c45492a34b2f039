// The `closed` promise will resolve when the connection is "CLOSED"
await connection.closed
// Connection is now closed
