// Command fetchservers fetches servers that are not installed as packages into
// the cache of package servers, and prints where each one is.
//
//	fetchservers kafka postgres-18 …
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/internal/servers"
)

var fetch = map[string]func(context.Context) (string, error){
	"kafka":       servers.FetchKafka,
	"postgres-17": func(ctx context.Context) (string, error) { return servers.FetchPostgres(ctx, servers.Postgres17) },
	"postgres-18": func(ctx context.Context) (string, error) { return servers.FetchPostgres(ctx, servers.Postgres18) },
	"mariadb-11":  func(ctx context.Context) (string, error) { return servers.FetchMariaDB(ctx, servers.MariaDB11) },
	"mysql-8":     servers.FetchMySQL,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetchservers:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return fmt.Errorf("name what to fetch: %s", strings.Join(slices.Sorted(maps.Keys(fetch)), ", "))
	}
	for _, name := range names {
		get, ok := fetch[name]
		if !ok {
			return fmt.Errorf("there is no %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(fetch)), ", "))
		}
		where, err := get(ctx)
		if err != nil {
			return err
		}
		fmt.Println(name, where)
	}
	return nil
}
