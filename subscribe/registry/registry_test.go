package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
	"github.com/trueup-io/trueup/subscribe"
	"github.com/trueup-io/trueup/subscribe/subscribetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// "Schema Registry wire format": each value names a schema, by its number, that
// the registry has under the topic's subject and that the value fits; and every
// reader of ours reads it.
func TestValuesNameTheirSchema(t *testing.T) {
	ctx := soon(t)
	server := srfake.New(srfake.WithAuth("Basic dHJ1ZXVwOmh1bnRlcjI=")) // trueup:hunter2
	defer server.Close()
	cfg := Config{URL: server.URL(), User: "trueup", Password: "hunter2"}
	prefixes, err := Register(ctx, cfg, "orders")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Register(ctx, cfg, "orders")
	if err != nil {
		t.Fatal(err)
	}
	log, err := stream.Open(ctx, stream.Config{Migration: "orders", DataDir: t.TempDir(), Partitions: 2, ValuePrefix: prefixes})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	rules := subscribetest.Rules(t)
	decision := &schemas.Event{Decision: &schemas.Decision{Action: schemas.Pause, By: "ana"}}
	subscribetest.Publish(ctx, t, log, rules, subscribetest.Divergence("order", 1), subscribetest.Outcome("order", 1, schemas.Applied), decision)

	client, err := sr.NewClient(sr.URLs(server.URL()), sr.BasicAuth(cfg.User, cfg.Password), sr.HTTPClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, topic := range log.Topics().All() {
		for p := range int32(2) {
			_, err := log.Read(ctx, topic, p, 0, stream.End, func(r stream.Record) error {
				seen++
				id, value, err := new(sr.ConfluentHeader).DecodeID(r.Value)
				if err != nil {
					return err
				}
				if string(again[topic]) != string(r.Value[:5]) {
					t.Errorf("%s: another start gives another number", topic)
				}
				usages, err := client.SchemaUsagesByID(ctx, id)
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(usages, func(s sr.SubjectSchema) bool {
					return s.Subject == topic+"-value" && s.Version == 1 && s.Type == sr.TypeJSON
				}) {
					t.Errorf("schema %d is of %+v, want %s-value", id, usages, topic)
				}
				doc, err := jsonschema.UnmarshalJSON(strings.NewReader(usages[0].Schema.Schema))
				if err != nil {
					return err
				}
				c := jsonschema.NewCompiler()
				if err := c.AddResource("s.json", doc); err != nil {
					return err
				}
				schema, err := c.Compile("s.json")
				if err != nil {
					return err
				}
				var v any
				if err := json.Unmarshal(value, &v); err != nil {
					return err
				}
				if err := schema.Validate(v); err != nil {
					t.Errorf("%s does not fit: %v", value, err)
				}
				if err := schema.Validate(map[string]any{"kind": "other"}); err == nil {
					t.Errorf("the schema of %s takes everything", topic)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d records were read", seen)
	}
	s, err := subscribe.On(ctx, log, "orders", subscribe.Config{Topics: subscribe.Topics, UntilNow: true})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for e, err := range s.Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, e.ID)
	}
	if want := []string{"d-order-1/0", "pause//0", "c-order-1/applied"}; !slices.Equal(slices.Sorted(slices.Values(ids)), slices.Sorted(slices.Values(want))) {
		t.Errorf("a subscriber reads %v", ids)
	}
}

// A registry that is not there, does not know us, or refuses, is an error that
// says what to do, and shows no password.
func TestRegistryThatRefuses(t *testing.T) {
	ctx := soon(t)
	server := srfake.New(srfake.WithAuth("Basic dHJ1ZXVwOmh1bnRlcjI="))
	defer server.Close()
	closed := srfake.New()
	closed.Close()
	strict := srfake.New(srfake.WithGlobalCompat(sr.CompatBackward))
	defer strict.Close()
	strict.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPost {
			return false
		}
		w.WriteHeader(http.StatusConflict)
		w.Write([]byte(`{"error_code":409,"message":"Schema being registered is incompatible with an earlier schema"}`))
		return true
	})
	away := srfake.New()
	defer away.Close()
	away.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, server.URL(), http.StatusTemporaryRedirect)
		return true
	})
	for name, c := range map[string]struct {
		cfg  Config
		want string
	}{
		"not there":      {Config{URL: closed.URL()}, "see that the registry runs"},
		"wrong password": {Config{URL: server.URL(), User: "trueup", Password: "hunter3"}, "user and password"},
		"incompatible":   {Config{URL: strict.URL()}, "FORWARD"},
		"redirect":       {Config{URL: away.URL(), User: "trueup", Password: "hunter2"}, "orders.divergences-value"},
	} {
		c.cfg.Timeout = 5 * time.Second
		_, err := Register(ctx, c.cfg, "orders")
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
