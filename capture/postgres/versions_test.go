package postgres

import (
	"net/url"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// Servers of other versions print the same, and decode old rows by old
// columns: from version 17 on a session that has looked at a table before it
// streams does not.
func TestOtherVersions(t *testing.T) {
	t.Parallel()
	for _, version := range []string{servers.Postgres17, servers.Postgres18} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			bin, err := servers.FetchPostgres(t.Context(), version)
			servertest.Check(t, err)
			server, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Bin: bin})
			servertest.Check(t, err)
			t.Cleanup(func() {
				if err := server.Stop(); err != nil {
					t.Error(err)
				}
			})
			admin := openDB(t, server.DSN)
			for name, test := range map[string]func(*testing.T, *db){
				"schema": schemaAtItsPosition, "values": valuesEqualTheServersText, "kinds": everyKindOfChange, "generated": generatedColumns,
				"types": typeMatrix, "images": func(t *testing.T, d *db) { imagesOfRows(t, d) }, "longkey": longKey,
				"partitions": partitionsAreTheirRoot, "streamed": streamedOrNotIsTheSame} {
				t.Run(name, func(t *testing.T) {
					admin.exec("create database " + name)
					u, err := url.Parse(server.DSN)
					if err != nil {
						t.Fatal(err)
					}
					u.Path = "/" + name
					test(t, openDB(t, u.String()))
				})
			}
		})
	}
}

// Generated columns are in the log from version 18 on, if they are stored and
// the publication says so.
func generatedColumns(t *testing.T, d *db) {
	d.setup(`create table orders (id bigint primary key, status text, amount numeric, note text generated always as (status || '!') stored)`,
		`alter table orders replica identity full`)
	cfg := d.config(orderEntity)
	_, err := New(cfg).Open(t.Context(), "", "")
	if err == nil || !strings.Contains(err.Error(), "column note is generated") {
		t.Fatal(err)
	}
	if get[string](d, "show server_version_num") < "180000" {
		return
	}
	d.exec("create publication trueup for table orders with (publish_generated_columns = stored)")
	for _, f := range Check(t.Context(), cfg) {
		if f.Severity == capture.Fail {
			t.Errorf("%+v", f)
		}
	}
	r := first(t, cfg)
	d.exec("insert into orders values (1, 'new', 1)")
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 status=new amount=1 note=new!")
}
