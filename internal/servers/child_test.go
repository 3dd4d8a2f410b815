package servers_test

import (
	"context"
	"fmt"
	"os"

	"github.com/trueup-io/trueup/internal/servers"
)

// childKind is the environment variable that makes this binary a program that
// starts one server, prints its address, and waits to be killed.
const childKind = "TRUEUP_TEST_SERVER_CHILD"

func beChild(kind string) {
	addresses := map[string]func() (string, error){
		"postgres": func() (string, error) {
			p, err := servers.StartPostgres(context.Background(), servers.PostgresOptions{Dir: os.Getenv("DIR")})
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("127.0.0.1:%d", p.Port), nil
		},
		"mariadb": func() (string, error) {
			m, err := servers.StartMariaDB(context.Background(), servers.MariaDBOptions{Dir: os.Getenv("DIR")})
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("127.0.0.1:%d", m.Port), nil
		},
		"kafka": func() (string, error) {
			k, err := servers.StartKafka(context.Background(), servers.KafkaOptions{Dir: os.Getenv("DIR")})
			if err != nil {
				return "", err
			}
			return k.Brokers[0], nil
		},
	}
	address, err := addresses[kind]()
	if err != nil {
		fmt.Fprintln(os.Stdout, "error:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stdout, address)
	select {}
}
