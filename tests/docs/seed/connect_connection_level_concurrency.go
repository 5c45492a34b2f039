// Connection 1 with different concurrency limit
conn1, err := inngestgo.Connect(ctx, inngestgo.ConnectOpts{
  InstanceID:           inngestgo.Ptr("worker-1-conn-1"),
  MaxWorkerConcurrency: inngestgo.Ptr(int64(50)),
  Apps:                 []inngestgo.Client{client},
})

// Connection 2 with different concurrency limit
conn2, err := inngestgo.Connect(ctx, inngestgo.ConnectOpts{
  InstanceID:           inngestgo.Ptr("worker-1-conn-2"),
  MaxWorkerConcurrency: inngestgo.Ptr(int64(20)),
  Apps:                 []inngestgo.Client{client},
})
