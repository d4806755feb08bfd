package e2e

import (
	"archive/tar"
	"encoding/json"
	"slices"
	"strings"
)

// container is what Docker says of a container or, with less of it, of an image.
type container struct {
	ID     string `json:"Id"`
	Image  string // ID
	Config struct {
		User   string
		Labels map[string]string
	}
	HostConfig struct {
		ReadonlyRootfs       bool
		CapDrop, SecurityOpt []string
	}
}

func (ct container) service() string { return ct.Config.Labels["com.docker.compose.service"] }

// hardened fails the test unless the containers have no more rights than the
// README says, and Ringside's image is what its Dockerfile says.
func (c *composed) hardened() {
	c.Helper()
	root := []string{"s3", "receive-0", "receive-1"}
	all := c.inspected(c.docker("ps", "--all", "--quiet", "--filter", "label="+projectLabel+"="+c.project)...)
	for _, ct := range all {
		if ct.HostConfig.ReadonlyRootfs == (ct.service() == "s3") {
			c.Errorf("%s: read-only root file system: %v", ct.service(), ct.HostConfig.ReadonlyRootfs)
		}
		if !slices.Equal(ct.HostConfig.CapDrop, []string{"ALL"}) || !slices.Equal(ct.HostConfig.SecurityOpt, []string{"no-new-privileges:true"}) {
			c.Errorf("%s: without capabilities %v, with options %v", ct.service(), ct.HostConfig.CapDrop, ct.HostConfig.SecurityOpt)
		}
		user, _, _ := strings.Cut(ct.Config.User, ":")
		if isRoot := slices.Contains([]string{"", "0", "root"}, user); isRoot != slices.Contains(root, ct.service()) {
			c.Errorf("%s runs as %q", ct.service(), ct.Config.User)
		}
	}
	i := slices.IndexFunc(all, func(ct container) bool { return ct.service() == c.Pairs[0].Name+"-ringside" })
	if i < 0 {
		c.Fatalf("no sidecar among %d containers", len(all))
	}
	c.packed(all[i])
}

// packed fails the test unless the sidecar's image is what its Dockerfile says.
func (c *composed) packed(sidecar container) {
	c.Helper()
	image := c.inspected(sidecar.Image)[0].Config
	if image.User != "65534:65534" {
		c.Errorf("the image's user is %q", image.User)
	}
	version, err := c.run(c.Context(), "docker", "exec", sidecar.ID, "/bin/ringside", "--version")
	if label := image.Labels["org.opencontainers.image.version"]; err != nil || label == "" || !strings.Contains(version, label) {
		c.Errorf("the image is labelled %q; the binary in it (error: %v) says\n%s", label, err, version)
	}
	for _, name := range []string{"title", "source", "licenses"} {
		if image.Labels["org.opencontainers.image."+name] == "" {
			c.Errorf("the image has no label %s", name)
		}
	}
	for path, mode := range map[string]int64{"/etc/ssl/certs/ca-certificates.crt": 0o644, "/LICENSE": 0o644, "/bin/ringside": 0o755} {
		archive, err := c.run(c.Context(), "docker", "cp", sidecar.ID+":"+path, "-")
		if err != nil {
			c.Errorf("%v\n%s", err, archive)
			continue
		}
		file, err := tar.NewReader(strings.NewReader(archive)).Next()
		if err != nil || file.Size == 0 || file.Mode&0o777&mode != mode {
			c.Errorf("%s in the image: %+v (error: %v); want mode %o and some content", path, file, err, mode)
		}
	}
}

// inspected returns what Docker says of containers or images.
func (c *composed) inspected(ids ...string) []container {
	c.Helper()
	out, err := c.run(c.Context(), append([]string{"docker", "inspect"}, ids...)...)
	var list []container
	if err == nil {
		err = json.Unmarshal([]byte(out), &list)
	}
	if err != nil || len(list) != len(ids) {
		c.Fatalf("inspected %d of %v: %v\n%s", len(list), ids, err, out)
	}
	return list
}
