package shop

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// The two stores say the same with other names and other types: state and
// status, numeric(10,2) and decimal(12,4), boolean and tinyint, jsonb and a JSON
// text, timestamptz and a datetime in UTC.

var legacyTables = []string{
	`create table public.orders (
		id       bigint primary key,
		customer text not null,
		state    text not null,
		amount   numeric(12,2) not null,
		placed   timestamptz not null,
		gift     boolean not null,
		details  jsonb not null,
		note     text)`,
	`create table public.order_lines (
		order_id bigint,
		line_no  integer,
		sku      text not null,
		qty      integer not null,
		price    numeric(10,2) not null,
		primary key (order_id, line_no))`,
	`alter table public.orders replica identity full`,
	`alter table public.order_lines replica identity full`,
}

// targetTables are those in the named database.
func targetTables(database string) []string {
	return []string{
		`create database if not exists ` + database,
		`create table ` + database + `.orders (
			id            bigint primary key,
			customer_name varchar(200) not null,
			status        varchar(20) not null,
			amount        decimal(12,2) not null,
			placed_at     datetime(6) not null,
			is_gift       tinyint(1) not null,
			details       json not null,
			note          text) default charset utf8mb4`,
		`create table ` + database + `.order_lines (
			order_id   bigint,
			line       smallint unsigned,
			sku        varchar(40) not null,
			quantity   int not null,
			unit_price decimal(12,4) not null,
			primary key (order_id, line)) default charset utf8mb4`,
	}
}

// CreateTables creates the empty tables on both sides.
func (s *Stores) CreateTables(ctx context.Context) error {
	for _, statement := range legacyTables {
		err := s.legacy.with(ctx, func(conn *pgx.Conn) error {
			_, err := conn.Exec(ctx, statement)
			return err
		})
		if err != nil {
			return fmt.Errorf("create tables of the legacy store: %w", err)
		}
	}
	for _, statement := range targetTables(s.database) {
		if _, err := s.target.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("create tables of the target store: %w", err)
		}
	}
	return nil
}
