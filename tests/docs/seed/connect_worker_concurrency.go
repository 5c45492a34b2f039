conn, err := inngestgo.Connect(ctx, inngestgo.ConnectOpts{
  InstanceID:           inngestgo.Ptr("example-worker"),
  MaxWorkerConcurrency: inngestgo.Ptr(int64(10)), // Max 10 concurrent steps
  Apps:                 []inngestgo.Client{client},
})
