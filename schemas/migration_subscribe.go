package schemas

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trueup-io/trueup/internal/outbound"
)

// Bounds and defaults of a subscribe block.
const (
	maxWebhooks      = 32
	maxURL           = 2048
	maxHookTimeout   = 5 * time.Minute
	maxHookGiveUp    = 90 * 24 * time.Hour
	maxEventsClients = 1024

	DefaultHookTimeout   = 15 * time.Second
	DefaultHookGiveUp    = 24 * time.Hour
	DefaultEventsClients = 32
)

// SubscribeConfig says who is told of events beyond the topics, and in which form the topics have them.
type SubscribeConfig struct {
	Events   EventsConfig
	Webhooks []*WebhookConfig
	Registry *RegistryConfig // nil: values on topics are plain JSON
}

// EventsConfig is of server-sent events over HTTP.
type EventsConfig struct {
	Token   *Secret // nil: served on a loopback address only
	Clients int     // at once
}

// WebhookConfig is one receiver of events.
type WebhookConfig struct {
	Name    string
	URL     string
	Secrets []*Secret // the newest first: a receiver that knows any of them can check
	Topics  []string  // divergences, compensations, outcomes
	Filter  EventFilter
	// FromStart says that the first start begins with the oldest event, not with the next.
	FromStart bool
	Timeout   time.Duration // of one attempt
	GiveUp    time.Duration // after so long an event becomes a dead letter
	Allow     []netip.Prefix
}

// RegistryConfig is of a Schema Registry whose wire format values on topics get.
type RegistryConfig struct {
	URL      string
	User     string  // empty: none is asked for
	Password *Secret // nil: none
}

// EventTopics are the words for the topics that events stand on.
var EventTopics = []string{"divergences", "compensations", "outcomes"}

var hookName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func (r *configReader) subscribe(m *Migration, n *configNode) {
	m.Subscribe.Events.Clients = DefaultEventsClients
	if n == nil || !r.mapping(n, "subscribe", "events", "webhooks", "registry") {
		return
	}
	if events := n.get("events"); events != nil && r.mapping(events, "subscribe.events", "token", "clients") {
		m.Subscribe.Events.Token = r.secret(m, events.get("token"), "subscribe.events.token", "token")
		m.Subscribe.Events.Clients = r.whole(events.get("clients"), "subscribe.events.clients", 1, maxEventsClients, DefaultEventsClients)
	}
	r.registry(m, n.get("registry"))
	hooks := n.get("webhooks")
	if hooks == nil {
		return
	}
	if hooks.kind != kindList || len(hooks.items) > maxWebhooks {
		r.fail(hooks, "subscribe.webhooks", "want a list of at most %d webhooks, have %s", maxWebhooks, hooks.describe())
		return
	}
	for i, item := range hooks.items {
		path := "subscribe.webhooks[" + strconv.Itoa(i) + "]"
		if h := r.webhook(m, item, path); h != nil {
			if j := slices.IndexFunc(m.Subscribe.Webhooks, func(o *WebhookConfig) bool { return o.Name == h.Name }); j >= 0 && h.Name != "" {
				r.fail(item.get("name"), path+".name", "the name stands twice: webhooks[%d] has it", j)
			}
			m.Subscribe.Webhooks = append(m.Subscribe.Webhooks, h)
		}
	}
}

func (r *configReader) webhook(m *Migration, n *configNode, path string) *WebhookConfig {
	if !r.mapping(n, path, "name", "url", "secret", "topics", "entities", "kinds", "severities", "owners", "from", "timeout", "giveUpAfter", "allowNetworks") {
		return nil
	}
	h := &WebhookConfig{Topics: EventTopics[:1]}
	const wantName = "1 to 32 of a-z, 0-9 and -"
	var ok bool
	name := r.required(n, path, "name", wantName)
	if h.Name, ok = r.text(name, path+".name", wantName); ok && !hookName.MatchString(h.Name) {
		r.fail(name, path+".name", "want %s, have %s", wantName, shown(h.Name))
	}
	h.Allow = r.networks(n.get("allowNetworks"), path+".allowNetworks")
	h.URL = r.address(r.required(n, path, "url", "an https URL"), path+".url", h.Allow)
	h.Secrets = r.secrets(m, r.required(n, path, "secret", "env:NAME or file:PATH"), path+".secret")
	if at := n.get("topics"); at != nil {
		h.Topics = r.wordsOf(at, path+".topics", EventTopics)
	}
	if at := n.get("entities"); at != nil {
		h.Filter.Entities = r.wordList(at, path+".entities", "an entity of this file")
		// Entities are read later: whether each is there is checked then.
		r.later = append(r.later, func() { r.known(at, path+".entities", h.Filter.Entities, m) })
	}
	for _, word := range r.wordsOf(n.get("kinds"), path+".kinds", textsOf(Kinds)) {
		h.Filter.Kinds = append(h.Filter.Kinds, Kind(word))
	}
	for _, word := range r.wordsOf(n.get("severities"), path+".severities", textsOf(Severities)) {
		h.Filter.Severities = append(h.Filter.Severities, Severity(word))
	}
	if at := n.get("owners"); at != nil {
		h.Filter.Owners = r.wordList(at, path+".owners", "the name of who reconciles")
	}
	from, _ := r.oneOf(n.get("from"), path+".from", "now", "start")
	h.FromStart = from == "start"
	h.Timeout = r.duration(n.get("timeout"), path+".timeout", maxHookTimeout, DefaultHookTimeout)
	h.GiveUp = r.duration(n.get("giveUpAfter"), path+".giveUpAfter", maxHookGiveUp, DefaultHookGiveUp)
	return h
}

// known says which entities are none of the file's.
func (r *configReader) known(n *configNode, path string, names []string, m *Migration) {
	all := make([]string, 0, len(m.entities))
	for _, e := range m.entities {
		all = append(all, e.Name)
	}
	r.each(n, path, func(at *configNode, path string) {
		if at.kind == kindText && at.text != "" && slices.Contains(names, at.text) && !slices.Contains(all, at.text) {
			hint := ""
			if near := nearest(at.text, all); near != "" {
				hint = "; did you mean " + near + "?"
			}
			r.fail(at, path, "want an entity of this file, have %s%s", shown(at.text), hint)
		}
	})
}

// each gives fn a node, or the items of a list.
func (r *configReader) each(n *configNode, path string, fn func(at *configNode, path string)) {
	if n.kind != kindList {
		fn(n, path)
		return
	}
	for i, item := range n.items {
		fn(item, path+"["+strconv.Itoa(i)+"]")
	}
}

// wordList reads a text or a list of texts, each once.
func (r *configReader) wordList(n *configNode, path, want string) (words []string) {
	if n.kind == kindList && len(n.items) == 0 {
		r.fail(n, path, "want %s, have an empty list", want)
	}
	r.each(n, path, func(at *configNode, path string) {
		word, ok := r.text(at, path, want)
		switch {
		case !ok:
		case slices.Contains(words, word):
			r.fail(at, path, "stands twice")
		default:
			words = append(words, word)
		}
	})
	return words
}

// wordsOf is wordList of words that are known; nothing where it is left out.
func (r *configReader) wordsOf(n *configNode, path string, all []string) (words []string) {
	if n == nil {
		return nil
	}
	if n.kind == kindList && len(n.items) == 0 {
		r.fail(n, path, "want some of %s, have an empty list", strings.Join(all, ", "))
	}
	r.each(n, path, func(at *configNode, path string) {
		word, ok := r.oneOf(at, path, all...)
		switch {
		case !ok:
		case slices.Contains(words, word):
			r.fail(at, path, "stands twice")
		default:
			words = append(words, word)
		}
	})
	return words
}

// secrets reads one reference or a list of them, the newest first.
func (r *configReader) secrets(m *Migration, n *configNode, path string) (all []*Secret) {
	if n == nil {
		return nil
	}
	if n.kind == kindList && (len(n.items) == 0 || len(n.items) > 4) {
		r.fail(n, path, "want 1 to 4 secrets, the newest first, have %d", len(n.items))
		return nil
	}
	r.each(n, path, func(at *configNode, path string) {
		if s := r.secret(m, at, path, "signing secret"); s != nil {
			all = append(all, s)
		}
	})
	return all
}

func (r *configReader) networks(n *configNode, path string) (all []netip.Prefix) {
	if n == nil {
		return nil
	}
	r.wordList(n, path, "a network such as 10.1.0.0/16")
	r.each(n, path, func(at *configNode, path string) {
		p, err := netip.ParsePrefix(at.text)
		switch {
		case at.kind != kindText || at.text == "": // said already
		case err != nil || p != p.Masked():
			r.fail(at, path, "want a network such as 10.1.0.0/16, with no bits beyond its length, have %s", shown(at.text))
		default:
			all = append(all, p)
		}
	})
	return all
}

// address reads the URL of a webhook. What can be seen to be inside this network is refused here, whatever its name resolves
// to when it is called.
func (r *configReader) address(n *configNode, path string, allow []netip.Prefix) string {
	text, ok := r.text(n, path, "an https URL")
	if !ok {
		return ""
	}
	u, err := httpURL(text)
	if err == nil && u.Scheme == "http" && len(allow) == 0 {
		err = errors.New("want https: plain http shows rows to everybody on the way; for a receiver inside, name its network in allowNetworks")
	}
	if err == nil {
		if addr, perr := netip.ParseAddr(u.Hostname()); perr == nil {
			err = outbound.Guard{Allow: allow}.Check(addr)
		}
	}
	if err != nil {
		r.fail(n, path, "%v", err)
		return ""
	}
	return text
}

// httpURL wants a URL that can be called and holds no secret. Errors quote none of it.
func httpURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL:
		return nil, fmt.Errorf("want at most %d bytes, have %d", maxURL, len(text))
	case err != nil || u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("want a URL such as https://example.com/hook")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("want an https URL, or http for what is inside")
	case u.User != nil:
		return nil, errors.New("a user and a password do not belong in this file")
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, errors.New("a URL with a fragment cannot be called")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, errors.New("want a port from 1 to 65535")
		}
	}
	return u, nil
}

func (r *configReader) registry(m *Migration, n *configNode) {
	const path = "subscribe.registry"
	if n == nil || !r.mapping(n, path, "url", "user", "password") {
		return
	}
	c := &RegistryConfig{Password: r.secret(m, n.get("password"), path+".password", "password")}
	at := r.required(n, path, "url", "the registry's URL")
	var ok bool
	if c.URL, ok = r.text(at, path+".url", "the registry's URL"); ok {
		if _, err := httpURL(c.URL); err != nil {
			r.fail(at, path+".url", "%v", err)
		}
	}
	if user := n.get("user"); user != nil {
		c.User, _ = r.text(user, path+".user", "a user")
	}
	if (n.get("user") == nil) != (n.get("password") == nil) {
		r.fail(n, path, "user and password stand together or not at all")
	}
	m.Subscribe.Registry = c
}
