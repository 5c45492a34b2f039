go get github.com/inngest/inngestgo/pkg/checkpoint
