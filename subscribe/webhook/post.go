package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/trueup-io/trueup/internal/outbound"
	"github.com/trueup-io/trueup/subscribe"
)

const (
	// dialTimeout bounds connecting; the whole attempt is bounded by Timeout.
	dialTimeout = 10 * time.Second
	// maxAnswer is read of an answer, for what it says in words; more is not waited for.
	maxAnswer = 4 << 10
	// maxSaid of an answer's words are kept.
	maxSaid = 200
	// maxRetryAfter bounds how long a receiver can have an event wait.
	maxRetryAfter = time.Hour
)

// newClient connects where g allows it and nowhere else.
func newClient(g outbound.Guard) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  nil, // it would connect for us, past the guard
			DialContext:            g.Dialer(dialTimeout).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    dialTimeout,
			ForceAttemptHTTP2:      true,
			MaxIdleConnsPerHost:    maxInFlight,
			IdleConnTimeout:        time.Minute,
			MaxResponseHeaderBytes: 64 << 10,
		},
		// A redirect could lead anywhere, with the rows in its luggage.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answer is what became of an attempt.
type answer struct {
	taken   bool
	refused bool          // this very event will not be taken
	gone    bool          // the receiver wants no more events
	wait    time.Duration // that the receiver asks for
	problem string        // in words; empty if taken
}

// post makes one attempt.
func (h *Hook) post(ctx context.Context, e *subscribe.Event, now time.Time) answer {
	return h.cfg.post(ctx, h.client, e.ID, e.AppendJSON(nil), now)
}

func (c *Config) post(ctx context.Context, client *http.Client, eventID string, body []byte, now time.Time) answer {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(body))
	if err != nil {
		return answer{problem: err.Error()}
	}
	id, timestamp := headerID(eventID), strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	req.Header.Set("User-Agent", "trueup")
	req.Header.Set(HeaderID, id)
	req.Header.Set(HeaderTimestamp, timestamp)
	signatures := make([]string, len(c.Secrets))
	for i, s := range c.Secrets {
		signatures[i] = s.sign(id, timestamp, body)
	}
	req.Header.Set(HeaderSignature, strings.Join(signatures, " "))
	resp, err := client.Do(req)
	if err != nil {
		return answer{problem: reason(err)}
	}
	defer resp.Body.Close()
	words, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil && resp.StatusCode/100 != 2 {
		words = []byte(reason(err))
	}
	return read(resp, words, now)
}

// reason is an error without the URL, which may hold a token.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && u.Unwrap() != nil {
		return u.Unwrap().Error()
	}
	return err.Error()
}

func read(resp *http.Response, words []byte, now time.Time) answer {
	code := resp.StatusCode
	if code/100 == 2 {
		return answer{taken: true}
	}
	said := strings.Join(strings.Fields(strings.ToValidUTF8(string(words), "?")), " ")
	if len(said) > maxSaid {
		said = strings.ToValidUTF8(said[:maxSaid], "") + "…"
	}
	a := answer{problem: fmt.Sprintf("it answered %d %s", code, http.StatusText(code))}
	if said != "" {
		a.problem += ": " + strconv.Quote(said)
	}
	switch code {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		a.refused = true
	case http.StatusGone:
		a.gone = true
	}
	if code/100 == 3 {
		a.problem = fmt.Sprintf("it answered %d, a redirect, which is not followed: correct the url", code)
	}
	if text := resp.Header.Get("Retry-After"); text != "" {
		if s, err := strconv.ParseUint(text, 10, 31); err == nil {
			a.wait = time.Duration(s) * time.Second
		} else if at, err := http.ParseTime(text); err == nil {
			a.wait = at.Sub(now)
		}
		a.wait = min(max(a.wait, 0), maxRetryAfter)
	}
	return a
}

// headerID is an id as a header can hold it: one with odd characters by its digest.
func headerID(id string) string {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' {
			sum := sha256.Sum256([]byte(id))
			return base64.RawURLEncoding.EncodeToString(sum[:])
		}
	}
	return id
}
