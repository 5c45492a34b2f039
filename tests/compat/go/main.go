// The functions of all scenarios, for the official Go SDK.
//
//	app serve 127.0.0.1:4321    or    app connect <instance id>    or    app noted -
//
// It prints one line of JSON when it is ready. The functions have the same ids, events and results
// in every language.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/inngest/inngest/pkg/enums"
	"github.com/inngest/inngestgo"
	"github.com/inngest/inngestgo/group"
	"github.com/inngest/inngestgo/pkg/checkpoint"
	"github.com/inngest/inngestgo/step"
)

const app = "scenarios"

type (
	data   = map[string]any
	input  = inngestgo.Input[data]
	events = inngestgo.MultipleTriggers
	opts   = inngestgo.FunctionOpts
	run    = func(ctx context.Context, in input) (any, error)
)

var (
	clients []inngestgo.Client
	leftOut = strings.Split(os.Getenv("LEAVE_OUT"), ",")
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// add makes the function in every client; its event is named like it, unless triggers say otherwise.
func add(o opts, f run, triggers ...inngestgo.MultipleTriggers) {
	if slices.Contains(leftOut, o.ID) {
		return
	}
	trigger := events{inngestgo.EventTrigger(o.ID, nil)}
	if len(triggers) > 0 {
		trigger = triggers[0]
	}
	for _, client := range clients {
		must(inngestgo.CreateFunction(client, o, trigger, f))
	}
}

func define(id string, f run) { add(opts{ID: id}, f) }

func retries(id string, count int) opts { return opts{ID: id, Retries: &count} }

// gives is what a step does that gives this value.
func gives[T any](value T) func(context.Context) (T, error) {
	return func(context.Context) (T, error) { return value, nil }
}

func raises(err error) func(context.Context) (any, error) {
	return func(context.Context) (any, error) { return nil, err }
}

func millis(value any) time.Duration {
	number, _ := value.(float64)
	return time.Duration(number) * time.Millisecond
}

func text(value any) string {
	found, _ := value.(string)
	return found
}

func steps() {
	define("echo", func(ctx context.Context, in input) (any, error) {
		return step.Run(ctx, "echo", gives(in.Event.Data["value"]))
	})
	define("one-step", func(ctx context.Context, in input) (any, error) {
		a, err := step.Run(ctx, "a", gives(7))
		return data{"a": a, "attempt": in.InputCtx.Attempt}, err
	})
	define("same-id", func(ctx context.Context, in input) (any, error) {
		values := []int{}
		for number := range 3 {
			value, err := step.Run(ctx, "a", gives(number))
			if err != nil {
				return nil, err
			}
			values = append(values, value)
		}
		return values, nil
	})
	define("parallel", func(ctx context.Context, in input) (any, error) {
		results := group.Parallel(ctx,
			func(ctx context.Context) (any, error) { return step.Run(ctx, "left", gives("l")) },
			func(ctx context.Context) (any, error) { return step.Run(ctx, "right", gives("r")) },
		)
		return []any{results[0].Value, results[1].Value}, results.AnyError()
	})
	define("race", func(ctx context.Context, in input) (any, error) {
		results := group.ParallelWithOpts(ctx, group.ParallelOpts{ParallelMode: enums.ParallelModeRace},
			func(ctx context.Context) (any, error) {
				if _, err := step.Run(ctx, "a1", gives(1)); err != nil {
					return nil, err
				}
				return step.Run(ctx, "a2", gives(2))
			},
			func(ctx context.Context) (any, error) {
				step.Sleep(ctx, "b", 2*time.Second)
				return nil, nil
			},
		)
		return "done", results.AnyError()
	})
	add(retries("too-many", 0), func(ctx context.Context, in input) (any, error) {
		count, _ := in.Event.Data["count"].(float64)
		branches := []func(context.Context) (any, error){}
		for number := range int(count) {
			branches = append(branches, func(ctx context.Context) (any, error) {
				return step.Run(ctx, fmt.Sprintf("s%d", number), gives(number))
			})
		}
		return len(group.Parallel(ctx, branches...)), nil
	})
	add(retries("many", 0), func(ctx context.Context, in input) (any, error) {
		count, _ := in.Event.Data["count"].(float64)
		for number := range int(count) {
			if _, err := step.Run(ctx, fmt.Sprintf("s%d", number), gives(number)); err != nil {
				return nil, err
			}
		}
		return count, nil
	})
	add(
		opts{ID: "checkpointed", Checkpoint: &checkpoint.Config{BatchSteps: 10}},
		func(ctx context.Context, in input) (any, error) {
			a, err := step.Run(ctx, "a", gives(1))
			if err != nil {
				return nil, err
			}
			b, err := step.Run(ctx, "b", gives(2))
			return a + b, err
		},
	)
	define("hold", func(ctx context.Context, in input) (any, error) {
		before, err := step.Run(ctx, "before", gives(1))
		if err != nil {
			return nil, err
		}
		held, err := step.Run(ctx, "hold", func(context.Context) (int, error) {
			for {
				if _, err := os.Stat(text(in.Event.Data["path"])); err == nil {
					return 2, nil
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
		if err != nil {
			return nil, err
		}
		after, err := step.Run(ctx, "after", gives(3))
		return before + held + after, err
	})
}

func note(in input, name string) error {
	file, err := os.OpenFile(text(in.Event.Data["ledger"]), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteString(name + "\n")
	return err
}

func exists(path any) bool {
	_, err := os.Stat(text(path))
	return err == nil
}

func checkpoints() {
	buffered := &checkpoint.Config{BatchSteps: 5}
	// each runs these steps one after the other, with what each of them does.
	each := func(ctx context.Context, body func(name string) error, names ...string) error {
		for _, name := range names {
			_, err := step.Run(ctx, name, func(context.Context) (any, error) { return nil, body(name) })
			if err != nil {
				return err
			}
		}
		return nil
	}
	add(opts{ID: "eager", Checkpoint: checkpoint.ConfigSafe}, func(ctx context.Context, in input) (any, error) {
		begun := []int64{}
		for _, name := range []string{"a", "b", "c"} {
			at, err := step.Run(ctx, name, func(context.Context) (int64, error) {
				return time.Now().UnixMilli(), nil
			})
			if err != nil {
				return nil, err
			}
			begun = append(begun, at)
		}
		return begun, nil
	})
	add(opts{ID: "buffered", Checkpoint: buffered}, func(ctx context.Context, in input) (any, error) {
		sum := 0
		for _, name := range []string{"a", "b", "c"} {
			one, err := step.Run(ctx, name, gives(1))
			if err != nil {
				return nil, err
			}
			sum += one
		}
		return sum, nil
	})
	add(opts{ID: "buffered-fails", Checkpoint: buffered}, func(ctx context.Context, in input) (any, error) {
		a, err := step.Run(ctx, "a", gives(1))
		if err != nil {
			return nil, err
		}
		b, err := step.Run(ctx, "b", func(context.Context) (int, error) {
			if in.InputCtx.Attempt == 0 {
				return 0, errors.New("busy")
			}
			return 2, nil
		})
		return a + b, err
	})
	add(opts{ID: "buffered-sleeps", Checkpoint: buffered}, func(ctx context.Context, in input) (any, error) {
		first := text(in.Event.Data["first"])
		if first == "" {
			first = "a"
		}
		if err := each(ctx, func(string) error { return nil }, first, "b"); err != nil {
			return nil, err
		}
		step.Sleep(ctx, "nap", 100*time.Millisecond)
		_, err := step.Run(ctx, "c", gives(3))
		return 6, err
	})
	add(opts{ID: "eager-parallel", Checkpoint: checkpoint.ConfigSafe}, func(ctx context.Context, in input) (any, error) {
		body := func(name string) error { return note(in, name) }
		if err := each(ctx, body, "before"); err != nil {
			return nil, err
		}
		results := group.Parallel(ctx,
			func(ctx context.Context) (any, error) { return nil, each(ctx, body, "left") },
			func(ctx context.Context) (any, error) { return nil, each(ctx, body, "right") },
		)
		if err := results.AnyError(); err != nil {
			return nil, err
		}
		return "done", each(ctx, body, "after")
	})
	short := &checkpoint.Config{MaxRuntime: 200 * time.Millisecond}
	add(opts{ID: "short", Checkpoint: short}, func(ctx context.Context, in input) (any, error) {
		withSteps, _ := in.Event.Data["steps"].(bool)
		body := func(name string) error { return note(in, name) }
		if withSteps {
			if err := each(ctx, body, "a"); err != nil {
				return nil, err
			}
		}
		if err := body("between"); err != nil {
			return nil, err
		}
		time.Sleep(400 * time.Millisecond)
		if withSteps {
			if err := each(ctx, body, "b"); err != nil {
				return nil, err
			}
		}
		return "done", nil
	})
	add(opts{ID: "eager-date", Checkpoint: checkpoint.ConfigSafe}, func(ctx context.Context, in input) (any, error) {
		found, err := step.Run(ctx, "a", func(context.Context) (any, error) { return time.Unix(0, 0).UTC(), nil })
		if err != nil {
			return nil, err
		}
		live, err := step.Run(ctx, "live", gives(fmt.Sprint(found)))
		if err != nil {
			return nil, err
		}
		step.Sleep(ctx, "nap", 100*time.Millisecond)
		return []string{live, fmt.Sprint(found)}, nil
	})
	often := 20
	add(opts{ID: "eager-ledger", Retries: &often, Checkpoint: checkpoint.ConfigSafe}, func(ctx context.Context, in input) (any, error) {
		body := func(name string) error {
			err := note(in, name)
			for name == "s2" && !exists(in.Event.Data["gate"]) {
				time.Sleep(20 * time.Millisecond)
			}
			return err
		}
		return "done", each(ctx, body, "s0", "s1", "s2", "s3", "s4")
	})
}

var errStock = errors.New("no stock")

func failures() {
	noStock := func(context.Context, input) (any, error) { return nil, errStock }
	define("fails", noStock)
	add(retries("fails-0", 0), noStock)
	add(retries("fails-50", 50), noStock)
	define("never", func(context.Context, input) (any, error) {
		return nil, inngestgo.NoRetryError(errors.New("never"))
	})

	busy := func(attempt int) (int, error) {
		if attempt == 0 {
			return 0, inngestgo.RetryAtError(errors.New("busy"), time.Now().Add(2*time.Second))
		}
		return attempt, nil
	}
	define("retry-after", func(ctx context.Context, in input) (any, error) {
		return busy(in.InputCtx.Attempt)
	})
	define("step-retry-after", func(ctx context.Context, in input) (any, error) {
		return step.Run(ctx, "s", func(context.Context) (int, error) {
			return busy(in.InputCtx.Attempt)
		})
	})

	survive := func(ctx context.Context, err error) (any, error) {
		var caught any
		if _, failed := step.Run(ctx, "bad", raises(err)); failed != nil {
			caught = failed.Error()
		}
		after, err := step.Run(ctx, "after", gives("went on"))
		return data{"caught": caught, "after": after}, err
	}
	add(retries("step-fails", 1), func(ctx context.Context, in input) (any, error) {
		return survive(ctx, errors.New("bad step"))
	})
	define("step-never", func(ctx context.Context, in input) (any, error) {
		return survive(ctx, inngestgo.NoRetryError(errors.New("bad step")))
	})
}

func waitFor(ctx context.Context, o step.WaitForEventOpts) (any, error) {
	event, err := step.WaitForEvent[inngestgo.Event](ctx, "w", o)
	if errors.Is(err, step.ErrEventNotReceived) {
		return data{"event": nil}, nil
	}
	return data{"event": data{"name": event.Name, "data": event.Data}}, err
}

func server() {
	define("sleep", func(ctx context.Context, in input) (any, error) {
		if until := text(in.Event.Data["until"]); until != "" {
			step.SleepUntil(ctx, "s", must(time.Parse(time.RFC3339, until)))
		} else {
			step.Sleep(ctx, "s", millis(in.Event.Data["ms"]))
		}
		return "woke", nil
	})
	define("wait", func(ctx context.Context, in input) (any, error) {
		given := in.Event.Data
		o := step.WaitForEventOpts{Event: text(given["event"]), Timeout: millis(given["ms"])}
		if expression := text(given["if"]); expression != "" {
			o.If = &expression
		}
		return waitFor(ctx, o)
	})
	define("send-and-wait", func(ctx context.Context, in input) (any, error) {
		results := group.Parallel(ctx,
			func(ctx context.Context) (any, error) {
				event := inngestgo.Event{Name: "send-and-wait/e", Data: data{"n": 1}}
				return step.Send(ctx, "send", event)
			},
			func(ctx context.Context) (any, error) {
				return waitFor(ctx, step.WaitForEventOpts{Event: "send-and-wait/e", Timeout: 20 * time.Second})
			},
		)
		return results[1].Value, results.AnyError()
	})
	add(retries("send", 0), func(ctx context.Context, in input) (any, error) {
		var sent []inngestgo.Event
		if err := json.Unmarshal(must(json.Marshal(in.Event.Data["events"])), &sent); err != nil {
			return nil, err
		}
		return step.SendMany(ctx, "send", sent)
	})
	define("invoke", func(ctx context.Context, in input) (any, error) {
		given, _ := in.Event.Data["data"].(data)
		result, err := step.Invoke[any](ctx, "i", step.InvokeOpts{
			FunctionId: app + "-" + text(in.Event.Data["function"]),
			Data:       given,
			Timeout:    millis(in.Event.Data["ms"]),
		})
		if err != nil {
			return data{"error": err.Error()}, nil
		}
		return data{"result": result}, nil
	})
	second := time.Second
	add(
		opts{ID: "invoke-finish", Timeouts: &inngestgo.ConfigTimeouts{Finish: &second}},
		func(ctx context.Context, in input) (any, error) {
			return step.Invoke[any](ctx, "i", step.InvokeOpts{
				FunctionId: app + "-child-slow", Data: data{},
			})
		},
	)
	define("child-ok", func(ctx context.Context, in input) (any, error) {
		return data{"got": in.Event.Data["n"]}, nil
	})
	define("child-null", func(context.Context, input) (any, error) { return nil, nil })
	define("child-fails", func(context.Context, input) (any, error) {
		return nil, inngestgo.NoRetryError(errors.New("child broke"))
	})
	define("child-slow", func(ctx context.Context, in input) (any, error) {
		step.Sleep(ctx, "s", 3*time.Second)
		return "slow", nil
	})
	add(
		opts{ID: "child-stops", Cancel: []inngestgo.ConfigCancel{{Event: "child-stops/stop"}}},
		func(ctx context.Context, in input) (any, error) {
			step.Sleep(ctx, "s", 30*time.Second)
			return "not stopped", nil
		},
	)
	define("signal", func(ctx context.Context, in input) (any, error) {
		conflict := step.SignalConflictFail
		if text(in.Event.Data["conflict"]) == "replace" {
			conflict = step.SignalConflictReplace
		}
		result, err := step.WaitForSignal[any](ctx, "s", step.WaitForSignalOpts{
			Signal:     text(in.Event.Data["signal"]),
			Timeout:    millis(in.Event.Data["ms"]),
			OnConflict: conflict,
		})
		if errors.Is(err, step.ErrSignalNotReceived) {
			return nil, nil
		}
		return result, err
	})
	define("fetch", func(ctx context.Context, in input) (any, error) {
		answer, err := step.Fetch[string](ctx, "f", step.FetchOpts{
			URL: text(in.Event.Data["url"]), Method: "GET",
		})
		return data{"status": answer.StatusCode, "body": answer.Body}, err
	})
	add(retries("infer", 1), func(ctx context.Context, in input) (any, error) {
		key, url := "test", text(in.Event.Data["url"])
		answer, err := step.Infer[data, data](ctx, "i", step.InferOpts[data]{
			Opts: step.InferOpenAIOpts(&key, &url),
			Body: data{"model": "test", "messages": []data{{"role": "user", "content": "hello"}}},
		})
		if err != nil {
			return data{"error": fmt.Sprintf("%T", err)}, nil
		}
		choice := answer["choices"].([]any)[0].(data)
		return data{"said": choice["message"].(data)["content"]}, nil
	})
}

func cancellation() {
	same := "event.data.id == async.data.id"
	add(
		opts{ID: "cancellable", Cancel: []inngestgo.ConfigCancel{{Event: "cancellable/stop", If: &same}}},
		func(ctx context.Context, in input) (any, error) {
			step.Sleep(ctx, "s", millis(in.Event.Data["ms"]))
			return "finished", nil
		},
	)
	window := "1s"
	add(
		opts{ID: "cancel-window", Cancel: []inngestgo.ConfigCancel{{Event: "cancel-window/stop", Timeout: &window}}},
		func(ctx context.Context, in input) (any, error) {
			o := step.WaitForEventOpts{Event: "cancel-window/go", Timeout: 30 * time.Second}
			_, err := step.WaitForEvent[inngestgo.Event](ctx, "go", o)
			return "finished", err
		},
	)
	second := time.Second
	add(
		opts{ID: "finish-timeout", Timeouts: &inngestgo.ConfigTimeouts{Finish: &second}},
		func(ctx context.Context, in input) (any, error) {
			step.Sleep(ctx, "s", 30*time.Second)
			return "finished", nil
		},
	)
}

func triggers() {
	name := func(ctx context.Context, in input) (any, error) { return in.Event.Name, nil }
	on := func(event string, expression ...string) events {
		if len(expression) == 0 {
			return events{inngestgo.EventTrigger(event, nil)}
		}
		return events{inngestgo.EventTrigger(event, &expression[0])}
	}
	add(opts{ID: "wild-slash"}, name, on("wild/*"))
	add(opts{ID: "wild-dot"}, name, on("wilddot/b.*"))
	add(opts{ID: "two-triggers"}, name, append(on("two/*"), on("two/a")...))
	add(opts{ID: "expr-gt"}, name, on("expr", "event.data.n > 5"))
	add(opts{ID: "expr-lt"}, name, on("expr", "event.data.n < 5"))
	add(opts{ID: "expr-null"}, name, on("expr-null", "event.data.x == null"))
	add(opts{ID: "expr-not-null"}, name, on("expr-null", "event.data.x != null"))
	add(opts{ID: "expr-text"}, name, on("expr-text", "event.data.word"))
	add(opts{ID: "cron"}, name, events{inngestgo.CronTrigger("* * * * *")})
	add(opts{ID: "on-timer"}, name, on("inngest/scheduled.timer"))
	add(opts{ID: "watch-failed"}, name, on("inngest/function.failed"))
	add(opts{ID: "watch-cancelled"}, name, on("inngest/function.cancelled"))
	ofEcho := "event.data.function_id == 'scenarios-echo' || event.data.function_id == 'scenarios-never'"
	add(opts{ID: "watch-echo"}, name, on("inngest/function.finished", ofEcho))
}

func bad(kind string) {
	name := func(ctx context.Context, in input) (any, error) { return in.Event.Name, nil }
	expression := "event.data.("
	triggers := map[string]inngestgo.Trigger{
		"expression": inngestgo.EventTrigger("bad", &expression),
		"zone":       inngestgo.CronTrigger("TZ=Mars/Olympus 0 0 * * *"),
		"daily":      inngestgo.CronTrigger("@daily"),
	}
	if trigger, found := triggers[kind]; found {
		add(opts{ID: "bad"}, name, events{trigger})
	}
}

func ready(facts data) {
	facts["ready"] = true
	fmt.Println(string(must(json.Marshal(facts))))
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	transport, place := os.Args[1], os.Args[2]
	if transport == "noted" {
		noted(ctx)
		return
	}
	plain := must(inngestgo.NewClient(inngestgo.ClientOpts{AppID: app}))
	streaming := must(inngestgo.NewClient(inngestgo.ClientOpts{AppID: app, UseStreaming: true}))
	clients = []inngestgo.Client{plain, streaming}
	steps()
	checkpoints()
	failures()
	server()
	cancellation()
	triggers()
	bad(os.Getenv("BAD"))

	if transport == "connect" {
		clients = clients[:1]
		options := inngestgo.ConnectOpts{Apps: clients, InstanceID: &place}
		connection := must(inngestgo.Connect(ctx, options))
		ready(data{"state": connection.State()})
		<-ctx.Done()
		_ = connection.Close()
		return
	}
	listener := must(net.Listen("tcp", place))
	ready(data{"url": "http://" + listener.Addr().String() + "/api/inngest"})
	handlers := map[bool]http.Handler{false: plain.Serve(), true: streaming.Serve()}
	panic(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers[strings.HasPrefix(r.URL.Path, "/api/streamed")].ServeHTTP(w, r)
	})))
}
