// Package registry has the events of a migration described in a Schema Registry,
// and says what the wire format puts before their values: a zero byte and the
// schema's number.
//
// The subject of a topic's values is the topic's name with "-value" behind it, as
// clients expect it. A schema that is there already keeps its number, so a start
// changes nothing.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/subscribe"
)

// Config says where the registry is.
type Config struct {
	URL            string
	User, Password string        // empty: none are asked for
	Timeout        time.Duration // of all requests together; 0: DefaultTimeout
}

// DefaultTimeout bounds what a start waits for the registry.
const DefaultTimeout = 30 * time.Second

// forms are the definitions of the schema that stand on each topic.
var forms = map[subscribe.Topic][]string{
	subscribe.Divergences:   {"divergence"},
	subscribe.Compensations: {"compensation", "decision"},
	subscribe.Outcomes:      {"outcome"},
}

// Register sees to it that the schemas are in the registry, and returns what
// stands before the values on each of the migration's topics, by its name. An
// error says what to do; a start goes no further, since values without it could
// not be read by who relies on it.
func Register(ctx context.Context, cfg Config, migration string) (map[string][]byte, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	opts := []sr.ClientOpt{sr.URLs(cfg.URL), sr.HTTPClient(&http.Client{Transport: transport, Timeout: cfg.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}), // it would take the password along
		sr.UserAgent("trueup")}
	if cfg.User != "" {
		opts = append(opts, sr.BasicAuth(cfg.User, cfg.Password))
	}
	client, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("schema registry: %w", err)
	}
	prefixes := make(map[string][]byte, len(forms))
	for _, t := range subscribe.Topics {
		topic := t.Name(migration)
		text, err := schemaOf(forms[t])
		if err != nil {
			return nil, fmt.Errorf("schema of topic %q: %w", topic, err)
		}
		id, err := client.RegisterSchema(ctx, topic+"-value", sr.Schema{Schema: text, Type: sr.TypeJSON}, -1, -1)
		if err != nil {
			return nil, fmt.Errorf("register subject %s-value at %s: %w%s", topic, cfg.URL, err, remedy(err))
		}
		if prefixes[topic], err = new(sr.ConfluentHeader).AppendEncode(nil, id, nil); err != nil {
			return nil, fmt.Errorf("schema of topic %q: %w", topic, err)
		}
	}
	return prefixes, nil
}

func remedy(err error) string {
	var refused *sr.ResponseError
	switch {
	case errors.As(err, &refused) && refused.SchemaError() == sr.ErrIncompatibleSchema:
		return "; fields are only ever added: set the subject's compatibility to FORWARD"
	case errors.As(err, &refused) && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		return "; see subscribe.registry's user and password, and the right to register subjects"
	case errors.As(err, &refused):
		return ""
	}
	return "; see that the registry runs, or leave subscribe.registry out"
}

// schemaOf returns the schema of events of some forms, whole, and without what the other forms need.
func schemaOf(names []string) (string, error) {
	var doc map[string]any
	if err := json.Unmarshal(schemas.EventsSchemaJSON(), &doc); err != nil {
		return "", err
	}
	all := doc["$defs"].(map[string]any)
	needed := map[string]any{}
	var need func(at any)
	need = func(at any) {
		switch v := at.(type) {
		case []any:
			for _, one := range v {
				need(one)
			}
		case map[string]any:
			for key, one := range v {
				name, isRef := one.(string)
				if key != "$ref" || !isRef {
					need(one)
					continue
				}
				name = name[len("#/$defs/"):]
				if needed[name] == nil {
					needed[name] = all[name]
					need(all[name])
				}
			}
		}
	}
	var oneOf []any
	for _, name := range names {
		oneOf = append(oneOf, map[string]any{"$ref": "#/$defs/" + name})
	}
	need(oneOf)
	out := map[string]any{"$schema": doc["$schema"], "title": doc["title"], "oneOf": oneOf, "$defs": needed}
	b, err := json.Marshal(out) // names in order: the same text at each start
	return string(b), err
}
