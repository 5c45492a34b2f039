package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"github.com/inngest/inngestgo"
	"github.com/inngest/inngestgo/connect"
	"github.com/inngest/inngestgo/step"
)

const pollTime = 10 * time.Millisecond

// ran leaves a note for the test, in one piece whoever else writes.
func ran(name string, facts data) {
	facts["name"], facts["pid"] = name, os.Getpid()
	facts["at"] = float64(time.Now().UnixMilli()) / 1000
	path := filepath.Join(os.Getenv("STAGE_DIRECTORY"), "ran")
	file := must(os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600))
	defer file.Close()
	must(file.Write(append(must(json.Marshal(facts)), '\n')))
}

func pass(gate string) {
	ran("gate "+gate, data{})
	opened := filepath.Join(os.Getenv("STAGE_DIRECTORY"), gate+".open")
	for {
		if _, err := os.Stat(opened); err == nil {
			return
		}
		time.Sleep(pollTime)
	}
}

// noted is tests/chaos/apps/noted.py: three steps that note their bodies. The process ends when the
// SDK has given the connection up, so that whoever watches over it can start it again.
func noted(ctx context.Context) {
	app, version, instance := os.Getenv("STAGE_APP"), os.Getenv("STAGE_VERSION"), os.Getenv("STAGE_INSTANCE")
	client := must(inngestgo.NewClient(inngestgo.ClientOpts{AppID: app, AppVersion: &version}))
	clients = []inngestgo.Client{client}
	add(retries("noted", 20), func(ctx context.Context, in input) (any, error) {
		results := []string{}
		for _, name := range []string{"first", "held", "last"} {
			result, err := step.Run(ctx, name, func(context.Context) (string, error) {
				random := make([]byte, 16)
				must(rand.Read(random))
				result := hex.EncodeToString(random)
				ran("begin", data{
					"run": in.InputCtx.RunID, "step": name, "attempt": in.InputCtx.Attempt, "result": result,
				})
				if gate := text(in.Event.Data["gate"]); name == "held" && gate != "" {
					pass(gate)
				}
				ran("end", data{"result": result})
				return result, nil
			})
			if err != nil {
				return nil, err
			}
			results = append(results, result)
		}
		return results, nil
	}, events{inngestgo.EventTrigger(app+"/noted", nil)})

	options := inngestgo.ConnectOpts{Apps: clients, InstanceID: &instance}
	connection := must(inngestgo.Connect(ctx, options))
	for connection.State() != connect.ConnectionStateClosed {
		select {
		case <-ctx.Done():
			_ = connection.Close()
			return
		case <-time.After(pollTime):
		}
	}
	os.Exit(1)
}
