await connection.close()
// Connection is now closed
