package demo

import (
	"fmt"
	"os"
	"time"

	"github.com/trueup-io/trueup/internal/demo/shop"
)

// The files of a demo's directory that people look at.
const (
	migrationFile = "migration.yaml"
	dataDirectory = "trueup-data"
	legacyFile    = "legacy.dsn"
	targetFile    = "target.dsn"
	applyFile     = "apply.dsn"
)

// migrationName is the migration's name. Topics of brokers that are not ours
// outlive a demo that was cut off, so there it is never used twice.
func (d *demo) migrationName() string {
	if len(d.Brokers) == 0 {
		return "orders"
	}
	return fmt.Sprintf("orders-demo-%d-%d", d.Seed, time.Now().UnixMicro())
}

// writeMigration writes migration.yaml and the files it names. They tell how to
// log in, so they are ours alone.
func (d *demo) writeMigration(legacyDSN string, last *closing) error {
	targetDSN, err := d.targetDSN()
	if err != nil {
		return err
	}
	applyDSN, err := asApplier(targetDSN)
	if err != nil {
		return err
	}
	d.name = d.migrationName()
	text := shop.Migration{
		Name: d.name, LegacyDSN: "file:" + d.dir.join(legacyFile), TargetDSN: "file:" + d.dir.join(targetFile),
		ApplyDSN:       "file:" + d.dir.join(applyFile),
		TargetDatabase: targetDatabase, Brokers: d.Brokers, DataDir: d.dir.join(dataDirectory),
		SettleWindow: d.shop.SettleWindow, Mode: "apply",
	}.YAML()
	d.migration = d.dir.join(migrationFile)
	for path, text := range map[string]string{d.dir.join(legacyFile): legacyDSN + "\n", d.dir.join(targetFile): targetDSN + "\n",
		d.dir.join(applyFile): applyDSN + "\n",
		d.migration:           text} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return err
		}
	}
	if len(d.Brokers) > 0 && d.dir.temp {
		last.add(func() error { return removeTopics(d.Brokers, d.name) })
	}
	return nil
}
