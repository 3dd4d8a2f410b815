package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/trueup-io/trueup/schemas"
)

// composed reads docker-compose.yml as Docker Compose does.
func composed(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(root(t), "docker-compose.yml")},
		cli.WithEnv([]string{"SECRETS_GID=1000"}), cli.WithDiscardEnvFile)
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// root is the repository's.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func service(t *testing.T, p *types.Project, name string) types.ServiceConfig {
	t.Helper()
	s, err := p.GetService(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestComposeHasBothStoresTheLogAndTrueup(t *testing.T) {
	p := composed(t)
	want := map[string]*regexp.Regexp{
		"postgres": regexp.MustCompile(`^postgres:\d+\.\d+$`),
		"mariadb":  regexp.MustCompile(`^mariadb:\d+\.\d+\.\d+$`),
		"kafka":    regexp.MustCompile(`^apache/kafka:4\.\d+\.\d+$`),
		"trueup":   regexp.MustCompile(`^trueup:local$`), // built here
	}
	for name, s := range p.Services {
		image, known := want[name]
		if !known {
			t.Errorf("service %s is not one of ours", name)
		} else if !image.MatchString(s.Image) {
			t.Errorf("service %s has image %q, want %s: a pinned version", name, s.Image, image)
		}
	}
	if len(p.Services) != len(want) {
		t.Errorf("services %v, want %d", p.ServiceNames(), len(want))
	}

	var roles string
	for name, value := range service(t, p, "kafka").Environment {
		if strings.Contains(name, "ZOOKEEPER") {
			t.Errorf("kafka: %s: a KRaft node has no ZooKeeper", name)
		}
		if name == "KAFKA_PROCESS_ROLES" && value != nil {
			roles = *value
		}
	}
	if roles != "broker,controller" {
		t.Errorf("kafka: roles %q, want one node that is broker and controller", roles)
	}
}

func TestComposeConfinesEveryService(t *testing.T) {
	p := composed(t)
	for name, s := range p.Services {
		if !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 {
			t.Errorf("%s: capabilities dropped %v, added %v; want all dropped, none added", name, s.CapDrop, s.CapAdd)
		}
		if !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s: security_opt %v: it may gain privileges", name, s.SecurityOpt)
		}
		if s.Privileged || s.Pid != "" || s.Ipc != "" || s.NetworkMode != "" || s.UserNSMode != "" || len(s.Devices) > 0 {
			t.Errorf("%s: it shares something of the host", name)
		}
		if s.HealthCheck == nil || s.HealthCheck.Disable || len(s.HealthCheck.Test) < 2 {
			t.Errorf("%s: no health check", name)
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is published on %q, want 127.0.0.1", name, port.Published, port.HostIP)
			}
		}
	}
}

func TestComposeConfinesTrueup(t *testing.T) {
	s := service(t, composed(t), "trueup")
	if s.User != "65532:65532" {
		t.Errorf("user %q, want one without a name and rights", s.User)
	}
	if !s.ReadOnly {
		t.Error("the root filesystem can be written")
	}
	if len(s.Ports) > 0 {
		t.Errorf("ports %v: nothing of it listens", s.Ports)
	}
	if len(s.Tmpfs) != 1 || !strings.HasPrefix(s.Tmpfs[0], "/tmp:") {
		t.Errorf("tmpfs %v, want /tmp alone", s.Tmpfs)
	}
	for _, option := range []string{"noexec", "nosuid", "nodev", "size="} {
		if !strings.Contains(s.Tmpfs[0], option) {
			t.Errorf("tmpfs %s: no %s", s.Tmpfs[0], option)
		}
	}
	for _, v := range s.Volumes {
		if writable := !v.ReadOnly; writable && (v.Type != types.VolumeTypeVolume || v.Target != "/var/lib/trueup") {
			t.Errorf("%s is mounted at %s for writing, want data alone", v.Source, v.Target)
		}
	}
	for _, store := range []string{"postgres", "mariadb", "kafka"} {
		if s.DependsOn[store].Condition != types.ServiceConditionHealthy {
			t.Errorf("it does not wait for %s to be healthy", store)
		}
	}
}

// What a container is given from here is in the repository, and given for reading.
func TestComposeMountsWhatIsThere(t *testing.T) {
	p := composed(t)
	for name, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeVolume {
				if _, ok := p.Volumes[v.Source]; !ok {
					t.Errorf("%s: volume %s is not declared", name, v.Source)
				}
				continue
			}
			if v.Type != types.VolumeTypeBind || !v.ReadOnly {
				t.Errorf("%s: %s is a %s, read-only %v", name, v.Source, v.Type, v.ReadOnly)
			}
			wantFile(t, name, v.Source)
		}
		if s.Build != nil {
			wantFile(t, name, filepath.Join(s.Build.Context, s.Build.Dockerfile))
		}
	}
}

func wantFile(t *testing.T, what, path string) {
	t.Helper()
	inside, err := filepath.Rel(root(t), path)
	if err != nil || strings.HasPrefix(inside, "..") {
		t.Errorf("%s: %s is outside of the repository", what, path)
		return
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%s: %s is no file of the repository: %v", what, inside, err)
	}
}

var inRunSecrets = regexp.MustCompile(`/run/secrets/([a-z_]+)`)

// Secrets come by files: none stands in an environment, and what a service's
// files read of /run/secrets the service is given.
func TestComposeSecretsAreFiles(t *testing.T) {
	p := composed(t)
	for name, secret := range p.Secrets {
		if secret.File != filepath.Join(root(t), "deploy", "secrets", name) || secret.Environment != "" || secret.Content != "" {
			t.Errorf("secret %s is not the file deploy/secrets/%s", name, name)
		}
	}
	used := map[string]bool{}
	for name, s := range p.Services {
		given := map[string]bool{}
		for _, secret := range s.Secrets {
			given[secret.Source], used[secret.Source] = true, true
			if len(s.GroupAdd) != 1 {
				t.Errorf("%s: groups %v: it cannot read its secrets", name, s.GroupAdd)
			}
		}
		read := map[string]bool{}
		for variable, value := range s.Environment {
			if value == nil {
				t.Errorf("%s: %s comes from the caller's environment", name, variable)
				continue
			}
			if regexp.MustCompile(`PASSWORD|DSN|SECRET|TOKEN`).MatchString(variable) && !strings.HasSuffix(variable, "_FILE") {
				t.Errorf("%s: %s is a secret in the environment", name, variable)
			}
			note(read, *value)
		}
		for _, v := range s.Volumes {
			if v.Type == types.VolumeTypeBind {
				note(read, readFile(t, v.Source))
			}
		}
		for secret := range read {
			if !given[secret] {
				t.Errorf("%s reads /run/secrets/%s and is not given it", name, secret)
			}
		}
		for secret := range given {
			if !read[secret] {
				t.Errorf("%s is given the secret %s and does not read it", name, secret)
			}
		}
	}
	for name := range p.Secrets {
		if !used[name] {
			t.Errorf("nobody uses the secret %s", name)
		}
	}
}

func note(read map[string]bool, text string) {
	for _, m := range inRunSecrets.FindAllStringSubmatch(text, -1) {
		read[m[1]] = true
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The migration.yaml that the container reads is that of examples/orders, with
// the other containers in the places of stores and log.
func TestComposeMigration(t *testing.T) {
	p := composed(t)
	trueup := service(t, p, "trueup")
	var path string
	for _, v := range trueup.Volumes {
		if v.Target == "/etc/trueup/migration.yaml" {
			path = v.Source
		}
		if v.Type == types.VolumeTypeVolume && v.Source != "trueup" {
			t.Errorf("data lies in volume %s", v.Source)
		}
	}
	for _, command := range [][]string{trueup.Command, trueup.HealthCheck.Test} {
		if !strings.Contains(strings.Join(command, " "), "-f /etc/trueup/migration.yaml") {
			t.Errorf("%q reads another file", command)
		}
	}
	m, err := schemas.LoadMigration(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.RequireStores(); err != nil {
		t.Fatal(err)
	}
	if m.DataDir != "/var/lib/trueup" {
		t.Errorf("dataDir %s is not the volume", m.DataDir)
	}
	broker := *service(t, p, "kafka").Environment["KAFKA_ADVERTISED_LISTENERS"]
	for _, b := range m.Log.Brokers {
		if !strings.Contains(broker, "://"+b+",") {
			t.Errorf("broker %s is not what kafka advertises: %s", b, broker)
		}
	}
	if len(m.Log.Brokers) == 0 {
		t.Error("the log is not in kafka")
	}
	example, err := schemas.LoadMigration(filepath.Join(root(t), "examples", "orders", "migration.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := definition(t, m), definition(t, example); got != want {
		t.Errorf("entities\n%s\nof the example\n%s", got, want)
	}
}

func definition(t *testing.T, m *schemas.Migration) string {
	t.Helper()
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules.Definition
}
